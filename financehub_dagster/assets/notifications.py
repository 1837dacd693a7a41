"""`notifications`: recent signals, sent to people.

Belongs here: the asset and what it shows of a run. Does not belong here: claiming and sending
(operations.notifications).
"""

import dagster as dg

from financehub_dagster.assets.tables import kept
from financehub_dagster.ingest.run_config import Universe

NAME = "notifications"


@kept(NAME)
def notifications(context: dg.AssetExecutionContext, config: Universe) -> dg.MaterializeResult:
    """Send what waits; with symbols also what failed of them before.

    A failed delivery is a dead letter, not a failed run.
    """
    from financehub_dagster.operations.notifications import deliver
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.operations import notifications as stored

    sent = deliver(context.run.run_id, config.symbols)
    with transaction() as connection:
        counts = stored.counts(connection)
    for symbol, reason in sent.failed.items():
        context.log.warning(f"{NAME}: {symbol} was not delivered: {reason}")
    failed = ", ".join(sent.failed) or "none"
    return dg.MaterializeResult(
        asset_key=NAME,
        metadata={
            "queued": sent.queued,
            "delivered": sent.delivered,
            "dry_run": sent.dry_run,
            "given_up": sent.abandoned,
            "failed": dg.MetadataValue.text(failed),
            "messages": dg.MetadataValue.md(
                "\n\n---\n\n".join(f"```\n{body}\n```" for body in sent.messages) or "none"
            ),
            **{f"rows_{state}": count for state, count in counts.items()},
        },
    )
