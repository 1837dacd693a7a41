"""From an outcome to the events of a run: metadata per run and per partition.

Belongs here: what every materialization of a daily table says. Does not belong here: counting and drawing.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import dagster as dg

from financehub_dagster.ingest.outcome import Outcome, run_metadata
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries import history


def materialized(
    context: dg.AssetExecutionContext,
    outcome: Outcome,
    window: Window,
    shown: Mapping[str, dg.MetadataValue] = MappingProxyType({}),
) -> Iterator[dg.MaterializeResult]:
    """Report one daily table: the run's numbers on each partition, its own rows per month, what it shows on the newest.

    Reports nothing for a table that the run did not select.
    """
    key = dg.AssetKey(outcome.table)
    if key not in context.selected_asset_keys:
        return
    with transaction() as connection:
        months = history.rows_by_month(connection, outcome.table, window.start, window.end)
        total = history.row_count(connection, outcome.table)
    for partition in context.partition_keys:
        context.add_asset_metadata(
            {"dagster/partition_row_count": months.get(partition, 0)}, asset_key=key, partition_key=partition
        )
    if shown:
        context.add_asset_metadata(dict(shown), asset_key=key, partition_key=context.partition_keys[-1])
    yield dg.MaterializeResult(
        asset_key=key,
        metadata={
            **run_metadata(outcome, window.start.isoformat(), window.end.isoformat()),
            "dagster/row_count": dg.MetadataValue.int(total),
        },
    )
