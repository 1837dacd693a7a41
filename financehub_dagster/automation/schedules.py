"""When jobs run by themselves.

Belongs here: cron lines with their time zone and the partition range of a tick. Does not belong here: what a job does.
"""

from datetime import UTC

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from financehub_dagster.automation import jobs
from financehub_dagster.automation.cleanup_failed_tasks import cleanup_failed_tasks
from financehub_dagster.automation.snapshot_schedules import ANSWER_SCHEDULES
from financehub_dagster.ingest.partitions import Window, range_tags
from financehub_dagster.storage.queries.partition_keys import ends_of


def _scheduled(job: UnresolvedAssetJobDefinition, cron: str, timezone: str, why: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=why,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = context.scheduled_execution_time.astimezone(UTC).date()
        return dg.RunRequest(
            run_key=context.scheduled_execution_time.isoformat(),
            tags=range_tags(*ends_of(Window.recent(today).partition_key)),
        )

    return tick


SCHEDULES = [
    _scheduled(
        jobs.fetch_yahoo_stocks,
        "30 16 * * 1-5",
        "America/New_York",
        "Half an hour after the New York close, when the session's bar is final.",
    ),
    _scheduled(jobs.fetch_binance_cryptos, "5 0 * * *", "UTC", "Five minutes after the UTC day ends."),
    _scheduled(jobs.calculate_indicators, "15 * * * *", "UTC", "Every hour: bars that changed are computed again."),
    dg.ScheduleDefinition(
        name="report_coverage_schedule",
        job=jobs.report_coverage,
        cron_schedule="50 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour: the heat maps of the ledger, and the counts that the plots follow.",
    ),
    dg.ScheduleDefinition(
        name="observe_api_usage_schedule",
        job=jobs.observe_api_usage,
        cron_schedule="*/5 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every five minutes, so that the plots show how budgets are spent and come back.",
    ),
    dg.ScheduleDefinition(
        name="cleanup_failed_tasks_schedule",
        job=cleanup_failed_tasks,
        cron_schedule="40 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: dead letters that were settled a month ago leave the table.",
    ),
    dg.ScheduleDefinition(
        name="audit_tables_schedule",
        job=jobs.audit_tables,
        cron_schedule="10 2 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: whole tables are read for what was damaged outside of runs.",
    ),
    *ANSWER_SCHEDULES,
]
