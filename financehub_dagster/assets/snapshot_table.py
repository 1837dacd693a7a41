"""The body that every table of current values shares: ask the vendors, store, report.

Belongs here: the order of these for one run. Does not belong here: the engine (`ingest.snapshots`), and which vendors
are asked (providers.routing).
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from financehub_dagster.assets.charts import snapshots
from financehub_dagster.assets.reporting import reported, rows_of
from financehub_dagster.ingest.outcome import raise_if_nothing_worked, run_metadata
from financehub_dagster.ingest.partitions import Window, require_running_partition
from financehub_dagster.ingest.run_config import Snapshot
from financehub_dagster.ingest.snapshots import SnapshotRun, update_answers
from financehub_dagster.providers.table_sources import bound_router
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.queries import history
from financehub_dagster.tables import SNAPSHOTS, TABLES

type Shown = Callable[[Connection, str, date, date], dg.MetadataValue]

_SHOWN: dict[str, tuple[str, Shown]] = {
    "movers": ("movers", snapshots.movers),
    "markets": ("largest", snapshots.markets),
    "companies": ("largest", snapshots.companies),
    "headlines": ("headlines", snapshots.headlines),
}
"""What a run shows, and under which name, by the chart of its table."""


def fill_with_snapshots(
    context: dg.AssetExecutionContext, config: Snapshot, table: str
) -> Iterator[dg.MaterializeResult]:
    """Bring the run's partitions of `table` up to date and report them; dg.Failure when every instrument failed."""
    window, filled = Window.of(context), SNAPSHOTS[table]
    since = None
    if filled.look_back is None:
        require_running_partition(context)
    else:
        since = since_when(table, window, filled.look_back, datetime.now(UTC))
    router = bound_router(table, context.resources, config.providers)
    work = SnapshotRun(table, router, window.partition_key, context.run.run_id, since)
    outcome = update_answers(work, config.members(table), context.log)
    raise_if_nothing_worked(outcome, context.run)
    metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
    with transaction() as connection:
        rows = rows_of(connection, table, window)
        chart = TABLES[table].chart
        if chart is not None:
            name, shown = _SHOWN[chart]
            metadata[name] = shown(connection, table, window.start, window.end)
    yield reported(context, table, rows, metadata)


def since_when(table: str, window: Window, look_back: timedelta, now: datetime) -> datetime:
    """From when on to ask: the window's first day, or the time of the newest stored row where that is older.

    So no hour is left out after a pause. Raises dg.Failure for a window that vendors do not look back to.
    """
    earliest = now - look_back
    if datetime.combine(window.end + timedelta(days=1), datetime.min.time(), UTC) <= earliest:
        message = f"{window.partition_key} cannot be filled: vendors look back {look_back.days} days"
        raise dg.Failure(message, allow_retries=False)
    with transaction() as connection:
        newest = history.newest_time(connection, table)
    start = datetime.combine(window.start, datetime.min.time(), UTC)
    return max(earliest, start if newest is None else min(start, newest))
