"""The body that every table of current values shares: ask the vendors, store, report.

Belongs here: the order of these for one run. Does not belong here: the engine (`ingest.snapshots`), and which vendors
are asked (providers.snapshot_routing).
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from logging import Logger
from typing import Any

import dagster as dg

from financehub_dagster.assets.charts import snapshots
from financehub_dagster.assets.reporting import reported
from financehub_dagster.assets.snapshot_config import SnapshotConfig
from financehub_dagster.ingest.outcome import Outcome, raise_if_nothing_worked, run_metadata
from financehub_dagster.ingest.partitions import Window, running_partition
from financehub_dagster.ingest.snapshot_rows import store_fundamentals, store_news, store_prices
from financehub_dagster.ingest.snapshots import SnapshotRun, Store, update_answers
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.queries import history
from financehub_dagster.tables import SNAPSHOTS, TABLES

type Shown = Callable[[Connection, str, date, date], dg.MetadataValue]

_STORES: dict[str, Store] = {"newest": store_prices, "daily": store_fundamentals, "articles": store_news}
"""How the answers for a table are written, by what it keeps."""
_SHOWN: dict[str, tuple[str, Shown]] = {
    "movers": ("movers", snapshots.movers),
    "markets": ("largest", snapshots.markets),
    "companies": ("largest", snapshots.companies),
    "headlines": ("headlines", snapshots.headlines),
}
"""What a run shows, and under which name, by the chart of its table."""


def fill_with_snapshots(
    context: dg.AssetExecutionContext, config: SnapshotConfig, table: str
) -> Iterator[dg.MaterializeResult]:
    """Bring the run's partitions of `table` up to date and report them."""
    window, look_back = Window.of(context), SNAPSHOTS[table].look_back
    since = None
    if look_back is None:
        running_partition(context)
    else:
        since = since_when(table, window, look_back, datetime.now(UTC))
    outcome = ask_and_store(context.resources, config, table, window, context.run.run_id, context.log, since)
    metadata, rows = report(outcome, window)
    yield reported(context, table, rows, metadata)


def ask_and_store(
    resources: Any,
    config: SnapshotConfig,
    table: str,
    window: Window,
    run_id: str,
    log: Logger,
    since: datetime | None = None,
) -> Outcome:
    """Ask and store; raises dg.Failure when every instrument failed. `resources` has the router and its providers."""
    filled = SNAPSHOTS[table]
    router = getattr(resources, filled.router)
    vendors = {name: getattr(resources, name) for name in router.able}
    work = SnapshotRun(table, router, vendors, window.partition_key, run_id, since, config.providers)
    outcome = update_answers(work, config.members(table), _STORES[filled.keeps], log)
    raise_if_nothing_worked(outcome)
    return outcome


def report(outcome: Outcome, window: Window) -> tuple[dict[str, dg.MetadataValue], dict[str, int]]:
    """What a run did and shows, and the rows of each day or month of `window` that has any."""
    table = TABLES[outcome.table]
    rows_by = history.rows_by_month if table.partitions == "month" else history.rows_by_day
    metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
    with transaction() as connection:
        rows = rows_by(connection, outcome.table, window.start, window.end)
        if table.chart is not None:
            name, shown = _SHOWN[table.chart]
            metadata[name] = shown(connection, outcome.table, window.start, window.end)
    return metadata, rows


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
