"""`reconcile_prices`: stored bars against a second vendor's, some instruments a day.

Belongs here: the job, and what its run shows. Does not belong here: asking and comparing (ingest.reconciliation).
"""

from collections import Counter
from datetime import UTC, datetime

import dagster as dg

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.providers.table_sources import bound_router, resources_of
from financehub_dagster.tables import BARS_OF

KEEP_DAYS = 365
"""What was not found again for so long belongs to an instrument, or a vendor, that is not compared any more."""


class Sample(dg.Config):
    """instruments: how many of each table are compared; the next ones follow on the next day."""

    instruments: int = 20


@dg.op(required_resource_keys=resources_of(*BARS_OF))
def compare_vendors(context: dg.OpExecutionContext, config: Sample) -> None:
    """Compare the sample of each table of daily bars; rates by vendor, column and kind are in the metadata."""
    from financehub_dagster.ingest import reconciliation
    from financehub_dagster.ingest.run_config import Universe
    from financehub_dagster.market.quality.reconciliation import rotation
    from financehub_dagster.operations import vendor_errors
    from financehub_dagster.storage import discrepancies, measured_bars
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.transactions import in_transaction

    today, skipped, off = datetime.now(UTC).date(), Counter[str](), Counter[str]()
    numbers = {"instruments compared": 0, "discrepancies": 0, "requests": 0}
    rates: list[dict[str, object]] = []
    for table, kinds in BARS_OF.items():
        members = {each.symbol: each for each in Universe().instruments(kinds)}
        chosen = [members[symbol] for symbol in rotation(list(members), today, config.instruments)]
        router = bound_router(table, context.resources)
        found = reconciliation.reconcile(table, router, chosen, context.run.run_id, context.log)
        rates += [{"table": table, **row} for row in found.rates()]
        skipped, off = skipped + found.skipped, off + found.off
        for name, count in zip(numbers, (found.instruments, found.found.total(), found.calls), strict=True):
            numbers[name] += count
    in_transaction(lambda connection: discrepancies.forget(connection, KEEP_DAYS))
    in_transaction(lambda connection: measured_bars.forget(connection, KEEP_DAYS))
    with transaction() as connection:
        measured = vendor_errors.as_markdown(vendor_errors.rates(connection))
    shape = {"table": "string", "vendor": "string", "column": "string", "kind": "string"}
    columns = {**shape, "compared": "int", "differ": "int", "rate": "string"}
    context.add_output_metadata(
        {
            **numbers,
            "errors of vendors": dg.MetadataValue.md(measured),
            "rates": record_table(columns, rates),
            "off by majority": record_table(
                {"vendor": "string", "values": "int"},
                [{"vendor": name, "values": count} for name, count in off.most_common()],
            ),
            "not compared": record_table(
                {"why": "string", "times": "int"}, [{"why": why, "times": n} for why, n in skipped.most_common()]
            ),
        }
    )


@dg.job(
    description="Compare the bars of some instruments, others each day, with a second vendor's; asks only vendors that"
    " have more than half of every budget left.",
    tags=queue_tags("low"),
)
def reconcile_prices() -> None:
    """Runs daily."""
    compare_vendors()
