"""When jobs run by themselves.

Belongs here: cron lines of jobs that fill no table. Does not belong here: those that tables declare (`table_jobs`),
what a job does.
"""

import dagster as dg

from financehub_dagster.automation import jobs
from financehub_dagster.automation.cleanup_old_data import cleanup_old_data
from financehub_dagster.automation.failures.cleanup_failed_tasks import cleanup_failed_tasks
from financehub_dagster.automation.important import IMPORTANT_SCHEDULES
from financehub_dagster.automation.realtime import realtime_pull_schedule
from financehub_dagster.automation.reconciliation import reconcile_prices
from financehub_dagster.automation.table_jobs import TABLE_SCHEDULES

SCHEDULES = [
    *TABLE_SCHEDULES,
    realtime_pull_schedule,
    *IMPORTANT_SCHEDULES,
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
        name="cleanup_old_data_schedule",
        job=cleanup_old_data,
        cron_schedule="20 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: what is old is deleted, so that nothing grows without bound.",
    ),
    dg.ScheduleDefinition(
        name="audit_tables_schedule",
        job=jobs.audit_tables,
        cron_schedule="10 2 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: whole tables are read for what was damaged outside of runs.",
    ),
    dg.ScheduleDefinition(
        name="reconcile_prices_schedule",
        job=reconcile_prices,
        cron_schedule="40 4 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night, when budgets are least used: some instruments are compared with a second vendor.",
    ),
]
