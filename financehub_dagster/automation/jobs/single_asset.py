"""Jobs on one instrument: `update_single_asset` and `historical_seed`.

Belongs here: bringing every daily table that applies to one symbol up to date in one run. Does not belong here: work on
the whole universe, which is what the asset jobs are for.
"""

from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.automation.hooks import dead_letter, settled
from financehub_dagster.automation.one_symbol import (
    SEED_EXAMPLE,
    SEED_STEP,
    UPDATE_EXAMPLE,
    UPDATE_STEP,
    OneSymbol,
    Seed,
    bars_table,
    days_window,
    launchpad,
    window_of,
)
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.ingest.outcome import Outcome, raise_if_nothing_worked, run_metadata
from financehub_dagster.ingest.partitions import LOOKBACK, Window
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.providers.intraday_routing import SERVE_INTRADAY_BARS
from financehub_dagster.providers.routing import SERVE_DAILY_BARS
from financehub_dagster.tables import BARS_OF, INTRADAY, TABLES, derived_from, filled_with

DEFERRED_TAG = "financehub/deferred"
"""On a run over one instrument whose work waits for a vendor: the instrument, and until when."""


def _bring_up_to_date(context: dg.OpExecutionContext, symbol: str, days: int) -> None:
    from financehub_dagster.ingest.derived import update_derived
    from financehub_dagster.ingest.history.daily_bars import HistoryRun, update_prices

    window = window_of(days, datetime.now(UTC).date())
    universe = Universe(symbols=[symbol])
    router = context.resources.daily_bars.over({name: getattr(context.resources, name) for name in SERVE_DAILY_BARS})
    table = bars_table(symbol)
    if table is None:
        raise dg.Failure(f"{symbol}: no table of daily bars takes this kind of instrument", allow_retries=False)
    work = HistoryRun(table, router, window, context.run.run_id)
    bars, actions = update_prices(work, universe.instruments(BARS_OF[table]), context.log)
    raise_if_nothing_worked(bars)
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
    from financehub_dagster.ingest.intraday.minutes import Pull, update_minutes

    now = datetime.now(UTC)
    window = days_window(config.days, now.date())
    vendors = {name: getattr(context.resources, name) for name in SERVE_INTRADAY_BARS}
    [table] = INTRADAY
    pull = Pull(table, context.resources.intraday_bars.over(vendors), window, context.run.run_id, now)
    universe = Universe(symbols=[config.symbol]).instruments(TABLES[table].instruments)
    outcomes = update_minutes(pull, universe, context.log)
    raise_if_nothing_worked(outcomes[table])
    _tell_of_deferral(context, outcomes[table])
    for name in filled_with(table):
        if name == f"ohlc_{config.interval}":
            outcomes[name].include(fetch_longer_bars(pull, name, universe[0], context.log))
    for outcome in outcomes.values():
        metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
        partition = window.end.isoformat()
        context.log_event(dg.AssetMaterialization(outcome.table, partition=partition, metadata=metadata))


_NEEDED = {"daily_bars", *SERVE_DAILY_BARS}


@dg.op(name=UPDATE_STEP, required_resource_keys=_NEEDED)
def update_one(context: dg.OpExecutionContext, config: OneSymbol) -> None:
    """Fetch and compute the running month and the week before it for one instrument."""
    _bring_up_to_date(context, config.symbol, LOOKBACK.days)


@dg.op(name=SEED_STEP, required_resource_keys={*_NEEDED, "intraday_bars", *SERVE_INTRADAY_BARS})
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
