"""`cleanup_old_data`: everything that grows is bounded.

Belongs here: this job, and the sizes it shows. Does not belong here: what is deleted when (operations.retention).
"""

from pathlib import Path

import dagster as dg

from financehub_dagster.assets.table_audit import MAINTENANCE_POOL
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.settings import get_settings

REPEATED_EVERY_SECONDS = 600
REPEATED_SECONDS = 20.0
"""How long a tick deletes; Dagster gives it a minute."""


@dg.op(pool=MAINTENANCE_POOL)
def delete_old_data(context: dg.OpExecutionContext) -> None:
    """Delete and thin what is old, in small transactions; the metadata has each table's size before and after."""
    from financehub_dagster.operations.retention import clean_up

    found = clean_up(get_settings(), _compute_logs(context.instance), context.log.info)
    columns = {"what": "string", "deleted": "int", "mb_before": "string", "mb_after": "string"}
    rows = [
        {
            "what": each.name,
            "deleted": each.deleted,
            "mb_before": f"{each.before / 1e6:,.1f}",
            "mb_after": f"{each.after / 1e6:,.1f}",
        }
        for each in found
    ]
    context.add_output_metadata(
        {
            "sizes": record_table(columns, rows),
            "mb before": round(sum(each.before for each in found) / 1e6, 1),
            "mb after": round(sum(each.after for each in found) / 1e6, 1),
            "deleted": sum(each.deleted for each in found),
        }
    )


def _compute_logs(instance: dg.DagsterInstance) -> Path | None:
    """The folder of what steps wrote; None where another manager keeps it elsewhere."""
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

    manager = instance.compute_log_manager
    return Path(manager._base_dir) if isinstance(manager, LocalComputeLogManager) else None


@dg.job(
    description="Delete runs, events, logs, settled dead letters, health rows and journals that are old; thin out old "
    "quotes; archive old months of intraday bars.",
    tags=queue_tags("low"),
)
def cleanup_old_data() -> None:
    """Runs daily."""
    delete_old_data()


@dg.sensor(
    name="cleanup_repeated_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=REPEATED_EVERY_SECONDS,
    description="Deletes what jobs that run all day leave, but for the newest runs of each.",
)
def cleanup_repeated_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Launches nothing: in one night the runs of every minute would fill 0.2 GB."""
    from financehub_dagster.operations.retention import delete_repeated

    found = delete_repeated(get_settings(), _compute_logs(context.instance), REPEATED_SECONDS)
    return dg.SkipReason(", ".join(f"{count:,} {what}" for what, count in found.items()) + " deleted.")
