"""What `update_single_asset` and `historical_seed` are asked for: a symbol and a stretch of days.

Belongs here: their config, and which tables' work it stands for. Does not belong here: doing it (jobs.single_asset).
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Literal

import dagster as dg
from pydantic import Field

from financehub_dagster.ingest.partitions import LOOKBACK, Window
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.partition_keys import key_of
from financehub_dagster.tables import BARS_OF

UPDATE_STEP, SEED_STEP = "update_one", "seed_one"
STEPS_OVER_ONE_SYMBOL = frozenset({UPDATE_STEP, SEED_STEP})


class OneSymbol(dg.Config):
    """Which instrument to update."""

    symbol: str = Field(description="A symbol of the instruments table, of any kind that has bars.")


class Seed(OneSymbol):
    """Which instrument to seed, at which interval, and how far back."""

    interval: Literal["1m", "5m", "15m", "1h", "1d"] = Field(
        default="1d",
        description="Bar interval. Minutes bring all longer bars; 5m, 15m and 1h ask for bars of that length where no"
        " minutes are kept.",
    )
    days: int = Field(
        default=365, ge=1, description="Calendar days back from today; of daily bars whole months are fetched."
    )


UPDATE_EXAMPLE, SEED_EXAMPLE = OneSymbol(symbol="AAPL"), Seed(symbol="AAPL")
"""What the launchpad opens on, ready to be launched or edited; a run config of one's own names its symbol."""


def launchpad(step: str, example: OneSymbol) -> dict[str, object]:
    """The run config a job opens on; dg.RunConfig would write empty sections around it."""
    return {"ops": {step: {"config": example.model_dump()}}}


def window_of(days: int, today: date) -> Window:
    """The whole months that the last `days` days fall into, up to today."""
    start = max(today - timedelta(days=days), get_settings().financehub_history_start)
    return Window.of_dates(start.replace(day=1), today)


def bars_table(symbol: str) -> str | None:
    """The table of daily bars that takes the instrument, if any does; raises UnknownInstruments."""
    universe = Universe(symbols=[symbol])
    return next((table for table, kinds in BARS_OF.items() if universe.instruments(kinds)), None)


def window_of_step(op_name: str, config: Mapping[str, object], today: date) -> Window | None:
    """The window of a step of these jobs as it was on `today`; None for any other step."""
    if op_name not in STEPS_OVER_ONE_SYMBOL or config.get("interval", "1d") != "1d":
        return None
    return window_of(Seed.model_validate(config).days if op_name == SEED_STEP else LOOKBACK.days, today)


def days_window(days: int, today: date) -> Window:
    """The last `days` days up to today, in daily partitions."""
    start = max(today - timedelta(days=days), get_settings().financehub_history_start)
    return Window(start, today, key_of(start.isoformat(), today.isoformat()))


def minutes_of_step(op_name: str, config: Mapping[str, object], today: date) -> Window | None:
    """The days whose minutes a step of these jobs asked for on `today`; None for any other step."""
    if op_name != SEED_STEP or config.get("interval", "1d") == "1d":
        return None
    return days_window(Seed.model_validate(config).days, today)
