"""`holdings`: what is held, shown.

Belongs here: the asset and what it shows. Does not belong here: importing (cli), statements (storage.queries.holdings).
"""

import dagster as dg

from financehub_dagster.assets.tables import kept
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.wording import counted

NAME = "holdings"


@kept(NAME)
def holdings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Report what is held; the table itself is kept by `financehub holdings import`."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.holdings import positions

    with transaction() as connection:
        found = positions(connection)
    columns = ("account", "symbol", "opened_on", "quantity", "cost", "close", "value", "profit", "currency")
    shown = (
        {name: "-" if getattr(each, name) is None else str(getattr(each, name)) for name in columns} for each in found
    )
    context.log.info(f"{NAME}: {counted(len(found), 'lot')}")
    return dg.MaterializeResult(
        asset_key=NAME,
        metadata={"dagster/row_count": len(found), "lots": record_table(dict.fromkeys(columns, "string"), shown)},
    )
