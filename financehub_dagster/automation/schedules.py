"""When jobs run by themselves.

Belongs here: cron lines of jobs that fill no table. Does not belong here: those that tables declare
(`jobs.table_jobs`), what a job does.
"""

from financehub_dagster.assets import coverage
from financehub_dagster.automation.failures.cleanup_failed_tasks import cleanup_failed_tasks
from financehub_dagster.automation.jobs import all_jobs
from financehub_dagster.automation.jobs.cleanup_old_data import cleanup_old_data
from financehub_dagster.automation.jobs.daily_close import daily_close_schedule
from financehub_dagster.automation.jobs.important import IMPORTANT_SCHEDULES
from financehub_dagster.automation.jobs.journal import write_journal_schedule
from financehub_dagster.automation.jobs.realtime import realtime_pull_schedule
from financehub_dagster.automation.jobs.reconciliation import reconcile_prices
from financehub_dagster.automation.jobs.table_jobs import TABLE_SCHEDULES
from financehub_dagster.automation.ticks import none_of, plain_schedule

SCHEDULES = [
    *TABLE_SCHEDULES,
    realtime_pull_schedule,
    daily_close_schedule,
    *IMPORTANT_SCHEDULES,
    write_journal_schedule,
    plain_schedule(
        all_jobs.report_coverage,
        "52 * * * *",  # at :50 those of every two, five and ten minutes start
        "Every hour in which the ledger has changed: its heat maps, and the counts that the plots follow.",
        idle=lambda context: none_of() or coverage.no_news(context.instance),
    ),
    plain_schedule(
        cleanup_failed_tasks,
        "40 3 * * *",
        "Every night: dead letters that were settled a month ago leave the table.",
        idle=None,
    ),
    plain_schedule(
        cleanup_old_data,
        "20 3 * * *",
        "Every night: what is old is deleted, so that nothing grows without bound.",
        idle=None,
    ),
    plain_schedule(
        all_jobs.audit_tables, "10 2 * * *", "Every night: whole tables are read for what was damaged outside of runs."
    ),
    plain_schedule(
        reconcile_prices,
        "40 4 * * *",
        "Every night, when budgets are least used: some instruments are compared with a second vendor.",
    ),
]
