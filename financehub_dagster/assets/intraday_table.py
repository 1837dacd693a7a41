"""The body of the intraday tables: ask for what is open, store minutes and the longer bars made of them, report.

Belongs here: the order of these for one run. Does not belong here: the engine (ingest.intraday), and which instruments
a tick asks for (automation.jobs.realtime).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.assets.reporting import materialized
from financehub_dagster.ingest.outcome import raise_if_nothing_worked
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import Minutes
from financehub_dagster.tables import INTRADAY, TABLES


def fill_minutes(context: dg.AssetExecutionContext, config: Minutes, table: str) -> Iterator[dg.MaterializeResult]:
    """Bring the run's days of `table` up to date, with the longer bars, and report each table the run selected."""
    from financehub_dagster.ingest.intraday.minutes import MinutesRun, update_minutes

    filled = INTRADAY[table]
    vendors = {name: getattr(context.resources, name) for name in filled.vendors}
    router = getattr(context.resources, filled.router).over(vendors, only=config.providers)
    window = Window.of(context)
    now = datetime.now(UTC)
    work = MinutesRun(table, router, window, context.run.run_id, now, config.tail_only, config.providers)
    outcomes = update_minutes(work, config.instruments(TABLES[table].instruments), context.log)
    raise_if_nothing_worked(outcomes[table])
    plan: dict[str, dg.MetadataValue] = {
        f"plan_{name}": dg.MetadataValue.text(value) for name, value in config.plan.items()
    }
    for outcome in outcomes.values():
        yield from materialized(context, outcome, window, plan if outcome.table == table else {})
