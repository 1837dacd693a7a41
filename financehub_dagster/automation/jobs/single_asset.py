"""Jobs on one instrument: `update_single_asset` and `historical_seed`.

Belongs here: their config, the work on tables that each of their steps stands for, and doing it in one run. Does not
belong here: work on the whole universe, which is what the asset jobs are for.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import dagster as dg
from pydantic import Field

from financehub_dagster.automation.hooks import dead_letter, settled
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.ingest.outcome import Outcome, raise_if_nothing_worked, run_metadata
from financehub_dagster.ingest.partitions import LOOKBACK, Window
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.providers.table_sources import bound_router, resources_of
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.partition_keys import key_of
from financehub_dagster.tables import BARS_OF, INTRADAY, TABLES, derived_from, filled_with

DEFERRED_TAG = "financehub/deferred"
"""On a run over one instrument whose work waits for a vendor: the instrument, and until when."""

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


def told(op_name: str, config: Mapping[str, object]) -> Mapping[str, object]:
    """What a step worked with that was given `config`: one of these jobs without any what its launchpad opens on."""
    examples = {UPDATE_STEP: UPDATE_EXAMPLE, SEED_STEP: SEED_EXAMPLE}
    return config if config or op_name not in examples else examples[op_name].model_dump()


def launchpad(step: str, example: OneSymbol) -> dict[str, object]:
    """The run config a job opens on; dg.RunConfig would write empty sections around it."""
    return {"ops": {step: {"config": example.model_dump()}}}


def days_window(days: int, today: date) -> Window:
    """The last `days` days up to today, in daily partitions."""
    start = max(today - timedelta(days=days), get_settings().financehub_history_start)
    return Window(start, today, key_of(start.isoformat(), today.isoformat()))


def window_of(days: int, today: date) -> Window:
    """The whole months that the last `days` days fall into, up to today."""
    return Window.of_dates(days_window(days, today).start.replace(day=1), today)


def bars_table(symbol: str) -> str | None:
    """The table of daily bars that takes the instrument, if any does; raises UnknownInstruments."""
    universe = Universe(symbols=[symbol])
    return next((table for table, kinds in BARS_OF.items() if universe.instruments(kinds)), None)


def window_of_step(op_name: str, config: Mapping[str, object], today: date) -> Window | None:
    """The window of a step of these jobs as it was on `today`; None for any other step."""
    if op_name not in STEPS_OVER_ONE_SYMBOL or config.get("interval", "1d") != "1d":
        return None
    return window_of(Seed.model_validate(config).days if op_name == SEED_STEP else LOOKBACK.days, today)


def minutes_of_step(op_name: str, config: Mapping[str, object], today: date) -> Window | None:
    """The days whose minutes a step of these jobs asked for on `today`; None for any other step."""
    if op_name != SEED_STEP or config.get("interval", "1d") == "1d":
        return None
    return days_window(Seed.model_validate(config).days, today)


def _bring_up_to_date(context: dg.OpExecutionContext, symbol: str, days: int) -> None:
    from financehub_dagster.ingest.derived import update_derived
    from financehub_dagster.ingest.history.daily_bars import HistoryRun, update_prices

    window = window_of(days, datetime.now(UTC).date())
    universe = Universe(symbols=[symbol])
    table = bars_table(symbol)
    if table is None:
        raise dg.Failure(f"{symbol}: no table of daily bars takes this kind of instrument", allow_retries=False)
    work = HistoryRun(table, bound_router(table, context.resources), window, context.run.run_id)
    bars, actions = update_prices(work, universe.instruments(BARS_OF[table]), context.log)
    raise_if_nothing_worked(bars, context.run)
    _tell_of_deferral(context, bars)
    outcomes = [bars, *([actions] if actions.table in filled_with(table) else [])]
    outcomes += [
        update_derived(name, window, universe, context.run.run_id, context.log) for name in derived_from(table)
    ]
    for outcome in outcomes:
        _report(context, outcome, window)


def _tell_of_deferral(context: dg.OpExecutionContext, outcome: Outcome) -> None:
    """Say on the run itself, where lists of runs show it, that its work is deferred: it succeeds without storing it."""
    for symbol, waits in outcome.deferred.items():
        until = f"{waits.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        context.log.warning(f"{outcome.table}: nothing was stored: {symbol} is deferred until {until}: {waits.reason}")
        context.instance.add_run_tags(context.run_id, {DEFERRED_TAG: f"{symbol} until {until}"})


def _report(context: dg.OpExecutionContext, outcome: Outcome, window: Window) -> None:
    if outcome.deferred and not outcome.done:
        return  # a materialization would say that the partitions were brought up to date
    metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
    *others, newest = window.months()
    for partition in others:
        context.log_event(dg.AssetMaterialization(outcome.table, partition=partition))
    context.log_event(dg.AssetMaterialization(outcome.table, partition=newest, metadata=metadata))


def _seed_minutes(context: dg.OpExecutionContext, config: Seed) -> None:
    """Minutes and all longer bars of the days; of days of which nobody keeps minutes, bars of the interval itself."""
    from financehub_dagster.ingest.intraday.direct_bars import fetch_longer_bars
    from financehub_dagster.ingest.intraday.minutes import MinutesRun, update_minutes

    now = datetime.now(UTC)
    window = days_window(config.days, now.date())
    [table] = INTRADAY
    work = MinutesRun(table, bound_router(table, context.resources), window, context.run.run_id, now)
    universe = Universe(symbols=[config.symbol]).instruments(TABLES[table].instruments)
    outcomes = update_minutes(work, universe, context.log)
    raise_if_nothing_worked(outcomes[table], context.run)
    _tell_of_deferral(context, outcomes[table])
    for name in filled_with(table):
        if name == f"ohlc_{config.interval}":
            outcomes[name].include(fetch_longer_bars(work, name, universe[0], context.log))
    for outcome in outcomes.values():
        metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
        partition = window.end.isoformat()
        context.log_event(dg.AssetMaterialization(outcome.table, partition=partition, metadata=metadata))


@dg.op(name=UPDATE_STEP, required_resource_keys=resources_of(*BARS_OF))
def update_one(context: dg.OpExecutionContext, config: OneSymbol) -> None:
    """Fetch and compute the running month and the week before it for one instrument."""
    _bring_up_to_date(context, config.symbol, LOOKBACK.days)


@dg.op(name=SEED_STEP, required_resource_keys=resources_of(*BARS_OF, *INTRADAY))
def seed_one(context: dg.OpExecutionContext, config: Seed) -> None:
    """Fetch and compute the last `days` days for one instrument; safe to run again."""
    if config.interval != "1d":
        _seed_minutes(context, config)
        return
    _bring_up_to_date(context, config.symbol, config.days)


@dg.job(
    hooks={dead_letter, settled},
    config=launchpad(UPDATE_STEP, UPDATE_EXAMPLE),
    description="Bring every daily table of one instrument up to date: put its symbol into the launchpad.",
    tags=queue_tags("high"),
)
def update_single_asset() -> None:
    """One instrument, running month."""
    update_one()


@dg.job(
    hooks={dead_letter, settled},
    config=launchpad(SEED_STEP, SEED_EXAMPLE),
    description="Store the history of one instrument: put its symbol and the days back from today into the launchpad.",
    tags=queue_tags("low"),
)
def historical_seed() -> None:
    """One instrument, as far back as asked."""
    seed_one()
