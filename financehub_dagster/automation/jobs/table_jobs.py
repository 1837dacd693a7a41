"""The jobs and schedules that tables declare: what each run covers, when it runs, and why a tick asks for no run.

Belongs here: from a table's declaration to Dagster's jobs and schedules. Does not belong here: jobs over several tables
of different partitions (`combined_jobs`), and jobs that fill no table (`all_jobs`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.ticks import active, nobody, unfinished
from financehub_dagster.ingest.partitions import partition_at, range_tags
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.tables import SNAPSHOTS, TABLES, filled_with, kinds_of
from financehub_dagster.tables.declaration import Job

LATE = timedelta(minutes=20)
"""How late vendors report a price: free plans a quarter of an hour, and the last of a session some minutes after it."""
CURRENT_FOR = timedelta(hours=22)
"""How long a table may stay as it was computed: with an hourly tick its runs are less than a day apart, as freshness
wants them (tables.defaults)."""


def _job(table: str, job: Job) -> UnresolvedAssetJobDefinition:
    config = {"asset_types": list(job.asset_types), "providers": list(job.providers)}
    config = {name: value for name, value in config.items() if value}
    return dg.define_asset_job(
        job.name,
        selection=dg.AssetSelection.assets(table, *filled_with(table), *job.also),
        config={"ops": {table: {"config": config}}} if config else None,
        description=job.description,
        tags=queue_tags(job.queue),
    )


def _schedule(table: str, job: Job, definition: UnresolvedAssetJobDefinition, cron: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{job.name}_schedule",
        job=definition,
        cron_schedule=cron,
        execution_timezone=job.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=job.why,
        required_resource_keys={SNAPSHOTS[table].router} if table in SNAPSHOTS else set(),
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        reason = reason_to_skip(context, table, job)
        if reason is not None:
            return dg.SkipReason(reason)
        now = context.scheduled_execution_time
        first, last = (partition_at(table, moment) for moment in (now - timedelta(days=job.days_back), now))
        return dg.RunRequest(run_key=now.isoformat(), run_config=_config(table, job), tags=range_tags(first, last))

    return tick


def _config(table: str, job: Job) -> dict[str, Any]:
    if not job.tick_asset_types:
        return {}
    return {"ops": {table: {"config": {"asset_types": list(job.tick_asset_types)}}}}


def reason_to_skip(context: dg.ScheduleEvaluationContext, table: str, job: Job) -> str | None:
    """Why a tick asks for no run: vendors without keys, an unfinished run, no instrument, or all markets closed."""
    wanted = job.tick_asset_types or job.asset_types
    kinds = [kind for kind in kinds_of(table) if not wanted or kind in wanted]
    busy = unfinished(context, job.name)
    if busy is not None:
        return busy
    if table in SNAPSHOTS:
        off = getattr(context.resources, SNAPSHOTS[table].router).why_off(kinds)
        if off is not None:
            return f"{table} is {off}"
    members = active(kinds)
    if not members:
        return nobody(kinds)
    if job.while_open and not any_open(members, context.scheduled_execution_time):
        return "no exchange of the universe is open"
    if job.only_changed and is_current(context, (table, *job.also), members):
        return "no input has changed since it was computed"
    return None


def is_current(context: dg.ScheduleEvaluationContext, tables: Sequence[str], members: Sequence[Instrument]) -> bool:
    """Whether each of the computed `tables` was computed within CURRENT_FOR and no input of `members` changed since."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.lineage.stale_inputs import read_marks

    oldest = context.scheduled_execution_time - CURRENT_FOR
    for table in tables:
        last = context.instance.get_latest_materialization_event(dg.AssetKey(table))
        if last is None or last.timestamp < oldest.timestamp():
            return False
    symbols = [each.symbol for each in members]
    with transaction() as connection:
        marks = [mark for table in tables for mark in read_marks(connection, table, symbols).values()]
    return all(mark.dirty_from is None for mark in marks)


def any_open(members: Sequence[Instrument], now: datetime) -> bool:
    """Whether a market of `members` is open at `now` (aware), or was within LATE."""
    from financehub_dagster.market import calendars

    markets = {calendars.market_of(each): each for each in members}.values()
    return any(calendars.is_open(each, moment) for each in markets for moment in (now, now - LATE))


TABLE_JOBS = {job.name: _job(name, job) for name, table in TABLES.items() for job in table.jobs}
"""The declared jobs, by name."""

TABLE_SCHEDULES = [
    _schedule(name, job, TABLE_JOBS[job.name], job.cron)
    for name, table in TABLES.items()
    for job in table.jobs
    if job.cron is not None
]
