"""`instruments`: the universe, as a table that people edit and everything else reads."""

import dagster as dg

from financehub_dagster.assets.tables import kept
from financehub_dagster.ingest.record_table import record_table

NAME = "instruments"


@kept(NAME)
def instruments(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Report who is in the universe; the table itself is kept by its editors."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    with transaction() as connection:
        universe = list_instruments(connection, active=None)
    active = [i for i in universe if i.is_active]
    kinds = sorted({i.asset_type for i in active})
    counts = {f"active_{kind}": sum(i.asset_type == kind for i in active) for kind in kinds}
    context.log.info(f"instruments: {len(active)} active of {len(universe)}")
    columns = ("symbol", "name", "asset_type", "exchange", "currency", "timezone")
    return dg.MaterializeResult(
        asset_key=NAME,
        metadata={
            "dagster/row_count": len(universe),
            "active": len(active),
            **counts,
            "universe": record_table(columns, ({c: getattr(i, c) for c in columns} for i in active)),
        },
    )
