"""Jobs on one instrument: `update_single_asset` and `historical_seed`.

Belongs here: bringing every daily table that applies to one symbol up to date in one run. Does not belong here: work on
the whole universe, which is what the asset jobs are for.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import dagster as dg
from pydantic import Field

from financehub_dagster.assets.config import BARS_OF, Universe
from financehub_dagster.assets.outcome import Outcome, raise_if_nothing_worked, run_metadata
from financehub_dagster.assets.partitions import Window
from financehub_dagster.providers.routing import SERVE_DAILY_BARS
from financehub_dagster.settings import get_settings


class OneSymbol(dg.Config):
    """Which instrument to update."""

    symbol: str = Field(description="A symbol of the instruments table, of any kind that has bars.")


class Seed(OneSymbol):
    """Which instrument to seed, at which interval, and how far back."""

    interval: Literal["1d"] = Field(default="1d", description="Bar interval.")
    days: int = Field(default=365, ge=1, description="Calendar days back from today; whole months are fetched.")


def _bring_up_to_date(context: dg.OpExecutionContext, symbol: str, start: date) -> None:
    from financehub_dagster.assets.indicator_update import update_indicators
    from financehub_dagster.assets.price_update import Work, update_prices

    today = datetime.now(UTC).date()
    start = max(start, get_settings().financehub_history_start).replace(day=1)
    window = Window.of_dates(start, today)
    universe = Universe(symbols=[symbol])
    router = context.resources.daily_bars.over({name: getattr(context.resources, name) for name in SERVE_DAILY_BARS})
    for table, kinds in BARS_OF.items():
        instruments = universe.instruments(kinds)
        if instruments:
            work = Work(table, router, window, context.run.run_id)
            bars, actions = update_prices(work, instruments, context.log)
            raise_if_nothing_worked(bars)
            break
    else:
        raise dg.Failure(f"{symbol}: no table of daily bars takes this kind of instrument", allow_retries=False)
    outcomes = [bars, update_indicators(window, universe, context.run.run_id, context.log)]
    if table == "stock_prices_daily":
        outcomes.insert(1, actions)
    for outcome in outcomes:
        _report(context, outcome, window)


def _report(context: dg.OpExecutionContext, outcome: Outcome, window: Window) -> None:
    metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
    for partition in window.months():
        context.log_event(dg.AssetMaterialization(outcome.table, partition=partition, metadata=metadata))


_NEEDED = {"daily_bars", *SERVE_DAILY_BARS}


@dg.op(required_resource_keys=_NEEDED)
def update_one(context: dg.OpExecutionContext, config: OneSymbol) -> None:
    """Fetch and compute the running month and the week before it for one instrument."""
    _bring_up_to_date(context, config.symbol, datetime.now(UTC).date() - timedelta(days=7))


@dg.op(required_resource_keys=_NEEDED)
def seed_one(context: dg.OpExecutionContext, config: Seed) -> None:
    """Fetch and compute the last `days` days for one instrument; safe to run again."""
    _bring_up_to_date(context, config.symbol, datetime.now(UTC).date() - timedelta(days=config.days))


@dg.job(description="Bring every daily table of one instrument up to date.")
def update_single_asset() -> None:
    """One instrument, running month."""
    update_one()


@dg.job(description="Store the history of one instrument: symbol, interval, days back.")
def historical_seed() -> None:
    """One instrument, as far back as asked."""
    seed_one()
