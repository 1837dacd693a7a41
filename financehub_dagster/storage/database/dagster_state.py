"""What Dagster's own tables say about its daemon and its runs, read without loading Dagster, which takes a second.

Belongs here: small questions to Dagster's database. Does not belong here: writing to it (Dagster alone does).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.urls import dagster_database

_HEARTBEATS = sa.text("select daemon_type, timestamp from daemon_heartbeats")
_RUNS = sa.text("select status, count(*) from runs where status = any(:statuses) group by status")
_ENDED = sa.text("""
    select count(*) filter (where status = 'SUCCESS'), count(*) filter (where status = 'FAILURE') from runs
    where status in ('SUCCESS', 'FAILURE') and update_timestamp > (clock_timestamp() at time zone 'UTC') - :window
    """)
_QUEUE = sa.text("""
    select count(*), coalesce(extract(epoch from (clock_timestamp() at time zone 'UTC') - min(create_timestamp)), 0)
    from runs where status = 'QUEUED'
    """)
_NUMBERED = sa.text("""
    select id, run_id, pipeline_name, status, start_time, end_time from runs
    where id >= :first and id <> all(cast(:without as bigint[])) order by id limit :most
    """)
_OLDEST = sa.text("select to_timestamp(min(start_time)) from runs where status in ('STARTED', 'CANCELING')")
_TICKED = sa.text("select extract(epoch from (clock_timestamp() at time zone 'UTC') - max(timestamp)) from job_ticks")
_NEWEST = sa.text("select last_value from runs_id_seq")


@dataclass(frozen=True)
class NumberedRun:
    """A run by Dagster's own number; `ended` in seconds since 1970 and None while it has not."""

    number: int
    run_id: str
    job_name: str
    status: str
    started: float | None
    ended: float | None

    @property
    def seconds(self) -> float:
        """How long it ran; 0 where it never started."""
        return 0.0 if self.started is None or self.ended is None else max(0.0, self.ended - self.started)


def runs_from(first: int, without: Sequence[int], most: int) -> tuple[list[NumberedRun], int]:
    """The runs from number `first` on but those in `without`, and the newest run's number; raises DatabaseError."""
    with autocommit(dagster_database()) as connection:
        newest = int(connection.execute(_NEWEST).scalar_one())
        rows = connection.execute(_NUMBERED, {"first": first, "without": list(without), "most": most})
        return [NumberedRun(*row) for row in rows], newest


def oldest_in_progress() -> datetime | None:
    """When the oldest run in progress began; raises DatabaseError."""
    with autocommit(dagster_database()) as connection:
        began: datetime | None = connection.execute(_OLDEST).scalar_one()
        return began


_STEPS = sa.text("""
    select e.run_id, r.pipeline_name, e.step_key,
        extract(epoch from (clock_timestamp() at time zone 'UTC') - min(e.timestamp))
    from runs r join event_logs e on e.run_id = r.run_id
    where r.status in ('STARTED', 'CANCELING') and e.step_key is not null
        and e.dagster_event_type in ('STEP_START', 'STEP_SUCCESS', 'STEP_FAILURE', 'STEP_SKIPPED')
        and exists (select from run_tags t where t.run_id = r.run_id and t.key = 'dagster/schedule_name')
    group by e.run_id, r.pipeline_name, e.step_key
    having bool_and(e.dagster_event_type = 'STEP_START')
    """)


@dataclass(frozen=True)
class RunningStep:
    """A step that runs now, which is named after its table, and for how many seconds."""

    run_id: str
    job_name: str
    table: str
    seconds: float


def scheduled_steps() -> list[RunningStep]:
    """The steps that runs of schedules are in; raises DatabaseError."""
    with autocommit(dagster_database()) as connection:
        rows = connection.execute(_STEPS)
        return [RunningStep(run, job, table, float(seconds)) for run, job, table, seconds in rows]


@dataclass(frozen=True)
class Activity:
    """What Dagster does: heartbeats (aware, UTC) by daemon, queued runs and the seconds that the oldest waits.

    running: runs that were started and have not ended.
    """

    heartbeats: dict[str, datetime]
    queued: int
    oldest_queued: float
    running: int


def activity() -> Activity:
    """What Dagster does now; raises DatabaseError."""
    with autocommit(dagster_database()) as connection:
        queued, oldest = connection.execute(_QUEUE).one()
        running = connection.execute(_RUNS, {"statuses": ["STARTING", "STARTED", "CANCELING"]})
        return Activity(_heartbeats(connection), queued, float(oldest), sum(count for _, count in running))


def ended_within(window: timedelta) -> tuple[int, int]:
    """How many runs succeeded and failed within the last `window`; raises DatabaseError."""
    with autocommit(dagster_database()) as connection:
        succeeded, failed = connection.execute(_ENDED, {"window": window}).one()
        return int(succeeded), int(failed)


def heartbeats() -> dict[str, datetime]:
    """When each daemon last said that it works (aware, UTC); raises DatabaseError."""
    with autocommit(dagster_database()) as connection:
        return _heartbeats(connection)


def heartbeats_and_tick() -> tuple[dict[str, datetime], float | None]:
    """The heartbeats, and how many seconds ago the last tick of any schedule or sensor was due, None before the first.

    Raises DatabaseError.
    """
    with autocommit(dagster_database()) as connection:
        passed = connection.execute(_TICKED).scalar_one()
        return _heartbeats(connection), None if passed is None else float(passed)


def heartbeats_and_runs(statuses: Sequence[str]) -> tuple[dict[str, datetime], dict[str, int]]:
    """The heartbeats, and how many runs have each of `statuses`, named as Dagster does; raises DatabaseError."""
    with autocommit(dagster_database()) as connection:
        counts = {status: int(count) for status, count in connection.execute(_RUNS, {"statuses": list(statuses)})}
        return _heartbeats(connection), {status: counts.get(status, 0) for status in statuses}


def _heartbeats(connection: Connection) -> dict[str, datetime]:
    return {name: at.replace(tzinfo=UTC) for name, at in connection.execute(_HEARTBEATS)}


_STORED = sa.text("""
    select e.run_id from event_logs e join runs r on r.run_id = e.run_id
    where e.asset_key = :asset and e.dagster_event_type = 'ASSET_MATERIALIZATION' and e.timestamp >= :at
        and (e.partition is null or e.partition = :partition) and r.start_time <= :seconds
    order by e.timestamp limit 1
    """)


def run_that_stored(table: str, partition: str, at: datetime) -> str | None:
    """The run that was under way at `at` (aware) and then reported `partition` of `table`; None if Dagster keeps none.

    Raises DatabaseError.
    """
    asked = {"asset": json.dumps([table]), "partition": partition, "seconds": at.timestamp()}
    with autocommit(dagster_database()) as connection:
        found = connection.execute(_STORED, {**asked, "at": at.astimezone(UTC).replace(tzinfo=None)}).scalar()
        return None if found is None else str(found)
