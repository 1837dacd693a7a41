"""`job_statistics`: finished runs of every job, counted once each.

Belongs here: counting, and reading the counts. Does not belong here: showing them. Dagster deletes old runs, and to
count its table at each scrape would read all of it, so what has finished is added here every minute.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from financehub_dagster.storage.database import dagster_state
from financehub_dagster.storage.database.dagster_state import NumberedRun
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import job_statistics, job_statistics_cursor

OUTCOMES = {"SUCCESS": "success", "FAILURE": "failure", "CANCELED": "canceled"}
"""Dagster's statuses of runs that have ended, and what they are called here."""
BATCH = 10_000
"""Runs that are read at once."""


@dataclass(frozen=True)
class JobStatistics:
    """The finished runs of one job with one outcome: how many, their seconds in all, when the last ended (aware)."""

    job_name: str
    outcome: str
    runs: int
    seconds: float
    last_ended_at: datetime | None


_ADD = sa.text("""
    insert into job_statistics as j (job_name, outcome, runs, seconds, last_ended_at, last_run_id)
    select * from unnest(cast(:jobs as text[]), cast(:outcomes as text[]), cast(:runs as bigint[]),
        cast(:seconds as double precision[]), cast(:ended as timestamptz[]), cast(:ids as text[]))
    on conflict (job_name, outcome) do update set
        runs = j.runs + excluded.runs, seconds = j.seconds + excluded.seconds,
        last_run_id = case when excluded.last_ended_at >= coalesce(j.last_ended_at, '-infinity')
            then excluded.last_run_id else j.last_run_id end,
        last_ended_at = greatest(j.last_ended_at, excluded.last_ended_at)
    """)

_MOVE = sa.text("""
    insert into job_statistics_cursor (next_id, counted) values (:next_id, :counted)
    on conflict (one) do update set next_id = excluded.next_id, counted = excluded.counted
    """)


def count_finished(connection: Connection) -> int:
    """Add the runs that have ended since the last call, in the caller's transaction; returns how many.

    No clock takes part: every run before next_id is counted, and of the later ones those whose number is in `counted`.
    Raises DatabaseError.
    """
    lock_table(connection, job_statistics)
    row = connection.execute(sa.select(job_statistics_cursor.c.next_id, job_statistics_cursor.c.counted)).first()
    next_id, counted = (0, []) if row is None else (row.next_id, list(row.counted))
    runs, newest = dagster_state.runs_from(next_id, counted, BATCH)
    if newest < next_id - 1:  # Dagster's database was made anew, and its numbers begin again
        next_id, counted = 0, []
        runs, _ = dagster_state.runs_from(next_id, counted, BATCH)
    ended = [run for run in runs if run.status in OUTCOMES]
    if not ended:
        return 0
    _add(connection, ended)
    seen = sorted({*counted, *(run.number for run in ended)})
    last = runs[-1].number if len(runs) == BATCH else seen[-1]
    moved = min((run.number for run in runs if run.status not in OUTCOMES), default=last + 1)
    connection.execute(_MOVE, {"next_id": moved, "counted": [number for number in seen if number >= moved]})
    return len(ended)


def _add(connection: Connection, ended: Sequence[NumberedRun]) -> None:
    groups: defaultdict[tuple[str, str], list[NumberedRun]] = defaultdict(list)
    for run in ended:
        groups[run.job_name, OUTCOMES[run.status]].append(run)
    last = [max(runs, key=lambda run: run.ended or 0.0) for runs in groups.values()]
    connection.execute(
        _ADD,
        {
            "jobs": [job for job, _ in groups],
            "outcomes": [outcome for _, outcome in groups],
            "runs": [len(runs) for runs in groups.values()],
            "seconds": [sum(run.seconds for run in runs) for runs in groups.values()],
            "ended": [None if run.ended is None else datetime.fromtimestamp(run.ended, UTC) for run in last],
            "ids": [run.run_id for run in last],
        },
    )


def read(connection: Connection) -> list[JobStatistics]:
    """The statistics of every job and outcome, by name."""
    columns = job_statistics.c
    query = sa.select(columns.job_name, columns.outcome, columns.runs, columns.seconds, columns.last_ended_at)
    return [JobStatistics(*row) for row in connection.execute(query.order_by(columns.job_name, columns.outcome))]
