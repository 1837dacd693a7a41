"""All jobs, and those among them that fill no table.

Belongs here: which assets a job covers. Does not belong here: jobs that tables declare (`table_jobs`), when jobs run
(`schedules`).
"""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from financehub_dagster.automation.failures.cleanup_failed_tasks import cleanup_failed_tasks
from financehub_dagster.automation.failures.replay import replay_dead_letters
from financehub_dagster.automation.jobs.cleanup_old_data import cleanup_old_data
from financehub_dagster.automation.jobs.combined_jobs import COMBINED_JOBS
from financehub_dagster.automation.jobs.connection_test import test_connection
from financehub_dagster.automation.jobs.daily_close import daily_close
from financehub_dagster.automation.jobs.healing import heal_gaps, heal_minutes
from financehub_dagster.automation.jobs.health_check import health_check
from financehub_dagster.automation.jobs.important import IMPORTANT_JOBS
from financehub_dagster.automation.jobs.journal import write_journal
from financehub_dagster.automation.jobs.notifying import send_notifications
from financehub_dagster.automation.jobs.realtime import realtime_pull
from financehub_dagster.automation.jobs.reconciliation import reconcile_prices
from financehub_dagster.automation.jobs.single_asset import historical_seed, update_single_asset
from financehub_dagster.automation.jobs.table_jobs import TABLE_JOBS
from financehub_dagster.automation.queues import queue_tags

observe_api_usage = dg.define_asset_job(
    "observe_api_usage",
    selection=dg.AssetSelection.assets("api_usage"),
    description="Used and left of every vendor's plan, per key and window; asks no vendor.",
    tags=queue_tags("default"),
)

report_coverage = dg.define_asset_job(
    "report_coverage",
    selection=dg.AssetSelection.assets("coverage"),
    description="The ledger in the webserver: heat maps, counts, open gaps; asks no vendor.",
    tags=queue_tags("low"),
)

audit_tables = dg.define_asset_job(
    "audit_tables",
    selection=dg.AssetSelection.assets("table_audit"),
    description="Reads every table whole, page by page, for what was damaged outside of runs; asks no vendor.",
    tags=queue_tags("low"),
)

JOBS: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    *TABLE_JOBS.values(),
    *COMBINED_JOBS,
    *IMPORTANT_JOBS,
    daily_close,
    update_single_asset,
    historical_seed,
    test_connection,
    replay_dead_letters,
    cleanup_failed_tasks,
    cleanup_old_data,
    heal_gaps,
    heal_minutes,
    realtime_pull,
    send_notifications,
    write_journal,
    health_check,
    report_coverage,
    observe_api_usage,
    audit_tables,
    reconcile_prices,
]
