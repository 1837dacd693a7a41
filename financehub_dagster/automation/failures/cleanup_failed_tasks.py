"""`cleanup_failed_tasks`: dead letters that are settled leave the table after a while.

Belongs here: this job. Does not belong here: settling them.
"""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from financehub_dagster.assets.table_audit import MAINTENANCE_POOL
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.wording import counted


class Keep(dg.Config):
    """How long settled dead letters are kept."""

    days: int = Field(default=30, ge=0, description="Days since the last failure of a resolved or discarded row.")


@dg.op(pool=MAINTENANCE_POOL)
def delete_settled_failures(context: dg.OpExecutionContext, config: Keep) -> None:
    """Delete what was resolved or discarded; open, retrying and parked rows stay, however old."""
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters.dead_letters import delete_settled

    deleted = in_transaction(lambda connection: delete_settled(connection, timedelta(days=config.days)))
    context.log.info(f"{counted(deleted, 'settled dead letter')} deleted")
    context.add_output_metadata({"deleted": deleted})


@dg.job(
    description="Delete dead letters that were resolved or discarded and failed last more than `days` days ago.",
    tags=queue_tags("low"),
)
def cleanup_failed_tasks() -> None:
    """Runs daily."""
    delete_settled_failures()
