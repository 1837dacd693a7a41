"""Deleting what Dagster has kept for long enough: runs, their events and the results of checks.

Belongs here: statements on Dagster's own tables. Does not belong here: how long things are kept (operations.retention).
Dagster deletes old ticks by itself and nothing else; `delete_run` would also delete the newest materialization of a
partition, which then counts as missing. So the newest event of each asset, partition and check stays, with its run.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.urls import MARKET_DRIVER, dagster_database

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

_SIZES = sa.text("""
    select relname, pg_total_relation_size(oid) from pg_class
    where relkind = 'r' and relname = any(:names) and relnamespace = cast(current_schema() as regnamespace)
    """)


@dataclass(frozen=True)
class Deleted:
    """Rows that were deleted."""

    runs: int = 0
    events: int = 0
    checks: int = 0


@contextmanager
def _connected() -> Iterator[Connection]:
    with autocommit(dagster_database().set(drivername=MARKET_DRIVER)) as connection:
        yield connection


def delete_old_runs(successful: timedelta, failed: timedelta) -> Deleted:
    """Delete runs that ended so long ago, with what they left; raises DatabaseError.

    In small batches, each its own transaction, so that it may be ended at any point.
    """
    runs = events = checks = after = 0
    with _connected() as connection:

        def batch(most: int) -> bool:
            nonlocal runs, events, checks, after
            found = connection.execute(
                _OLD_RUNS, {"after": after, "failed": failed, "others": successful, "most": most}
            ).all()
            if not found:
                return False
            after, names = found[-1].id, {"runs": [row.run_id for row in found]}
            checks += connection.execute(_CHECKS, names).rowcount
            events += int(connection.execute(_EVENTS, names).scalar_one())
            runs += connection.execute(_RUNS, names).rowcount
            return True

        in_batches(batch)
    return Deleted(runs, events, checks)


def in_batches(work: Callable[[int], bool], first: int = FIRST_BATCH, largest: int = LARGEST_BATCH) -> None:
    """Call `work` with how much it may do until it returns False; more when it was quick, less when it was slow."""
    most, go_on = first, True
    while go_on:
        began = time.monotonic()
        go_on = work(most)
        seconds = time.monotonic() - began
        most = max(1, most // 2) if seconds > LONGEST_SECONDS else min(largest, most * 2)


def sizes() -> dict[str, int]:
    """Bytes on disk of each of Dagster's tables that grow, with their indexes; raises DatabaseError."""
    with _connected() as connection:
        return {f"dagster {name}": int(size) for name, size in connection.execute(_SIZES, {"names": list(TABLES)})}
