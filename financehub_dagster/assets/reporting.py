"""From an outcome to the events of a run: what each partition's materialization says.

Belongs here: metadata of events. Does not belong here: counting and drawing.

Dagster needs one event for each partition. What is true of the run stands on the newest alone: repeated on each of 215
months, a list of failed instruments and a chart were most of what a run left in Dagster's database.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import dagster as dg

from financehub_dagster.ingest.outcome import Outcome, run_metadata
from financehub_dagster.ingest.partitions import Window, by_day
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.queries import history

ROWS, PARTITION_ROWS = "dagster/row_count", "dagster/partition_row_count"
"""Names under which the webserver looks for them."""


def materialized(
    context: dg.AssetExecutionContext,
    outcome: Outcome,
    window: Window,
    shown: Mapping[str, dg.MetadataValue] = MappingProxyType({}),
) -> Iterator[dg.MaterializeResult]:
    """Report one table: its rows of each partition, and on the newest the run's numbers and what it shows.

    Reports nothing for a table that the run did not select. The rows of the whole table are an estimate: to count them
    would read all of it.
    """
    if dg.AssetKey(outcome.table) not in context.selected_asset_keys:
        return
    with transaction() as connection:
        rows = rows_of(connection, outcome.table, window)
        total = history.estimates(connection, [outcome.table])[outcome.table]
    metadata = run_metadata(outcome, window.start.isoformat(), window.end.isoformat())
    counted = {} if total is None else {ROWS: dg.MetadataValue.int(total)}
    yield reported(context, outcome.table, rows, {**metadata, **counted, **shown})


def rows_of(connection: Connection, table: str, window: Window) -> dict[str, int]:
    """The rows of each partition of `table` within the window that has any."""
    return history.rows_by("day" if by_day(table) else "month", connection, table, window.start, window.end)


def reported(
    context: dg.AssetExecutionContext, table: str, rows: Mapping[str, int], metadata: Mapping[str, dg.MetadataValue]
) -> dg.MaterializeResult:
    """The result of a run over partitions of `table`: each says its rows, the newest of them what the run did."""
    newest = context.partition_keys[-1]
    for partition in context.partition_keys:
        own = {PARTITION_ROWS: dg.MetadataValue.int(rows.get(partition, 0))}
        context.add_asset_metadata(
            {**metadata, **own} if partition == newest else own, asset_key=table, partition_key=partition
        )
    return dg.MaterializeResult(asset_key=table)
