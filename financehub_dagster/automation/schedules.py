"""When jobs run by themselves.

Belongs here: cron lines of jobs that fill no table. Does not belong here: those that tables declare (`table_jobs`),
what a job does.
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from financehub_dagster.automation import jobs
from financehub_dagster.automation.cleanup_old_data import cleanup_old_data
from financehub_dagster.automation.failures.cleanup_failed_tasks import cleanup_failed_tasks
from financehub_dagster.automation.important import IMPORTANT_SCHEDULES
from financehub_dagster.automation.journal import write_journal_schedule
from financehub_dagster.automation.realtime import realtime_pull_schedule
from financehub_dagster.automation.reconciliation import reconcile_prices
from financehub_dagster.automation.table_jobs import TABLE_SCHEDULES

type Job = dg.JobDefinition | UnresolvedAssetJobDefinition


def _schedule(job: Job, cron: str, why: str) -> dg.ScheduleDefinition:
    """A schedule in UTC that is on by default and asks for a run at every tick."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=why,
    )


SCHEDULES = [
    *TABLE_SCHEDULES,
    realtime_pull_schedule,
    *IMPORTANT_SCHEDULES,
    write_journal_schedule,
    _schedule(
        jobs.report_coverage,
        "50 * * * *",
        "Every hour: the heat maps of the ledger, and the counts that the plots follow.",
    ),
    _schedule(
        jobs.observe_api_usage,
        "*/5 * * * *",
        "Every five minutes, so that the plots show how budgets are spent and come back.",
    ),
    _schedule(
        cleanup_failed_tasks, "40 3 * * *", "Every night: dead letters that were settled a month ago leave the table."
    ),
    _schedule(
        cleanup_old_data, "20 3 * * *", "Every night: what is old is deleted, so that nothing grows without bound."
    ),
    _schedule(
        jobs.audit_tables, "10 2 * * *", "Every night: whole tables are read for what was damaged outside of runs."
    ),
    _schedule(
        reconcile_prices,
        "40 4 * * *",
        "Every night, when budgets are least used: some instruments are compared with a second vendor.",
    ),
]
