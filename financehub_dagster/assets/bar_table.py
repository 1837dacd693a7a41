"""The bodies that tables of bars share, of days and within them: ask the vendors, store, report.

Belongs here: the order of these for one run. Does not belong here: which vendors are asked (providers), or which
instruments a tick asks for (automation.jobs.realtime).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.assets.charts.bars import prices_shown
from financehub_dagster.assets.reporting import materialized
from financehub_dagster.ingest.history.daily_bars import HistoryRun, update_prices
from financehub_dagster.ingest.outcome import raise_if_nothing_worked
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import Fetch, Minutes
from financehub_dagster.providers.table_sources import bound_router
from financehub_dagster.tables import BARS_OF, TABLES


def fill_bars(context: dg.AssetExecutionContext, config: Fetch, table: str) -> Iterator[dg.MaterializeResult]:
    """Bring the run's window of `table` up to date and report each table the run selected."""
    window, router = Window.of(context), bound_router(table, context.resources, config.providers)
    work = HistoryRun(table, router, window, context.run.run_id)
    bars, actions = update_prices(work, config.instruments(BARS_OF[table]), context.log)
    raise_if_nothing_worked(bars, context.run)
    yield from materialized(context, bars, window, prices_shown(table, bars.done, window, context.run))
    yield from materialized(context, actions, window)


def fill_minutes(context: dg.AssetExecutionContext, config: Minutes, table: str) -> Iterator[dg.MaterializeResult]:
    """Bring the run's days of `table` up to date, with the longer bars, and report each table the run selected."""
    from financehub_dagster.ingest.intraday.minutes import MinutesRun, update_minutes

    window, router = Window.of(context), bound_router(table, context.resources, config.providers)
    work = MinutesRun(table, router, window, context.run.run_id, datetime.now(UTC), config.tail_only)
    outcomes = update_minutes(work, config.instruments(TABLES[table].instruments), context.log)
    raise_if_nothing_worked(outcomes[table], context.run)
    plan: dict[str, dg.MetadataValue] = {
        f"plan_{name}": dg.MetadataValue.text(value) for name, value in config.plan.items()
    }
    for outcome in outcomes.values():
        yield from materialized(context, outcome, window, plan if outcome.table == table else {})
