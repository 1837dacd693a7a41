"""Deleting what Dagster has kept for long enough: runs, their events and the results of checks.

Belongs here: statements on Dagster's own tables. Does not belong here: how long things are kept (operations.retention).
Dagster deletes old ticks by itself and nothing else; `delete_run` would also delete the newest materialization of a
partition, which then counts as missing. So the newest event of each asset, partition and check stays, with its run.

A run that starts every minute leaves about 85 events, 0.17 MB: by age alone these would be 3 GB in two weeks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.urls import dagster_database

LONGEST_SECONDS = 1.0
"""A batch that took longer is followed by smaller ones: no statement holds its locks for two seconds."""
FIRST_BATCH, LARGEST_BATCH = 10, 500
TABLES = ("runs", "run_tags", "event_logs", "asset_event_tags", "asset_check_executions", "job_ticks")
"""Dagster's tables that grow with time."""

_OLD_RUNS = sa.text("""
    select id, run_id from runs
    where id > :after and update_timestamp < (clock_timestamp() at time zone 'UTC') - (case status
        when 'FAILURE' then cast(:failed as interval) else cast(:others as interval) end)
        and status in ('SUCCESS', 'FAILURE', 'CANCELED')
    order by id limit :most
    """)

_CHECKS = sa.text("""
    delete from asset_check_executions e where e.run_id = any(:runs) and exists (
        select from asset_check_executions later
        where later.asset_key = e.asset_key and later.check_name = e.check_name
            and later.partition is not distinct from e.partition and later.id > e.id)
    """)

_EVENTS = sa.text("""
    with gone as (
        delete from event_logs e where e.run_id = any(:runs)
            and not (e.asset_key is not null and e.dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION')
                and case when e.partition is null
                    then not exists (select from event_logs later where later.asset_key = e.asset_key
                        and later.dagster_event_type = e.dagster_event_type and later.partition is null
                        and later.id > e.id)
                    else not exists (select from event_logs later where later.asset_key = e.asset_key
                        and later.dagster_event_type = e.dagster_event_type and later.partition = e.partition
                        and later.id > e.id)
                    end)
            and not exists (select from asset_check_executions c where c.run_id = e.run_id
                and c.evaluation_event_storage_id = e.id)
        returning e.id
    ), tags as (delete from asset_event_tags where event_id in (select id from gone))
    select count(*) from gone
    """)

_RUNS = sa.text("""
    delete from runs r where r.run_id = any(:runs)
        and not exists (select from event_logs e where e.run_id = r.run_id)
        and not exists (select from asset_check_executions c where c.run_id = r.run_id)
    """)

_REPEATED_RUNS = sa.text("""
    select run_id from (
        select id, run_id, update_timestamp, row_number() over (partition by pipeline_name order by id desc) as place
        from runs r where status = 'SUCCESS' and exists (select from run_tags t where t.run_id = r.run_id
            and t.key in ('dagster/schedule_name', 'dagster/sensor_name'))
    ) ranked
    where place > :keep and update_timestamp < (clock_timestamp() at time zone 'UTC') - cast(:settled as interval)
        and exists (select from event_logs e
            where e.run_id = ranked.run_id and e.dagster_event_type = 'PIPELINE_SUCCESS')
    order by id
    """)

_REPEATED_TICKS = sa.text("""
    delete from job_ticks where id in (select id from (
        select id, status, row_number() over (partition by selector_id, status order by id desc) as place
        from job_ticks where status in ('SKIPPED', 'SUCCESS')) ranked
    where place > case status when 'SKIPPED' then :without else :with_run end)
    """)

SETTLED = timedelta(hours=1)
"""Runs that ended later than this ago are left alone: statistics, SLA and recovery may not have looked at them."""


@dataclass(frozen=True)
class Deleted:
    """Rows that were deleted, and the runs that they were of."""

    runs: int = 0
    events: int = 0
    checks: int = 0
    of: tuple[str, ...] = ()

    def __add__(self, other: "Deleted") -> "Deleted":
        """Both together."""
        return Deleted(
            self.runs + other.runs, self.events + other.events, self.checks + other.checks, self.of + other.of
        )


def delete_old_runs(successful: timedelta, failed: timedelta) -> Deleted:
    """Delete runs that ended so long ago, with what they left; raises DatabaseError.

    In small batches, each its own transaction, so that it may be ended at any point.
    """
    found, after = Deleted(), 0
    with autocommit(dagster_database()) as connection:

        def batch(most: int) -> bool:
            nonlocal found, after
            ages = {"after": after, "failed": failed, "others": successful, "most": most}
            old = connection.execute(_OLD_RUNS, ages).all()
            if old:
                after = old[-1].id
                found += _delete(connection, [row.run_id for row in old])
            return bool(old)

        in_batches(batch)
    return found


def delete_repeated_runs(keep: int, seconds: float | None = None) -> Deleted:
    """Delete successful runs that schedules and sensors started, but for the newest `keep` of each job.

    Their newest materializations and check results stay. Ends after about so many seconds, if given, and goes on with
    the next call; raises DatabaseError.
    """
    found = Deleted()
    with autocommit(dagster_database()) as connection:
        names = list(connection.execute(_REPEATED_RUNS, {"keep": keep, "settled": SETTLED}).scalars())

        def batch(most: int) -> bool:
            nonlocal found
            if names:
                found += _delete(connection, names[:most])
                del names[:most]
            return bool(names)

        in_batches(batch, seconds=seconds)
    return found


def delete_repeated_ticks(with_run: int, without: int) -> int:
    """Delete ticks that did not fail, but for so many of each schedule's and sensor's newest with a run and without.

    Raises DatabaseError.
    """
    with autocommit(dagster_database()) as connection:
        return connection.execute(_REPEATED_TICKS, {"with_run": with_run, "without": without}).rowcount


def _delete(connection: Connection, names: Sequence[str]) -> Deleted:
    runs = {"runs": list(names)}
    checks = connection.execute(_CHECKS, runs).rowcount
    events = int(connection.execute(_EVENTS, runs).scalar_one())
    return Deleted(connection.execute(_RUNS, runs).rowcount, events, checks, tuple(names))


def in_batches(
    work: Callable[[int], bool],
    first: int = FIRST_BATCH,
    largest: int = LARGEST_BATCH,
    seconds: float | None = None,
) -> None:
    """Call `work` with how much it may do until it returns False; more when it was quick, less when it was slow.

    No further batch begins after so many seconds, if given.
    """
    end = None if seconds is None else time.monotonic() + seconds
    most, go_on = first, True
    while go_on and (end is None or time.monotonic() < end):
        began = time.monotonic()
        go_on = work(most)
        took = time.monotonic() - began
        most = max(1, most // 2) if took > LONGEST_SECONDS else min(largest, most * 2)
