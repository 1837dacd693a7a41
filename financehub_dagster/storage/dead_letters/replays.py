"""Trying dead letters again: who takes which, and what becomes of those that nobody settled.

Belongs here: claiming rows for a replay and giving them back. Does not belong here: doing the work.

A row is `retrying` from its claim until its work succeeds or fails; two replays never hold the same row.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.database import locks
from financehub_dagster.storage.database.array_parameters import any_id
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.schema import task_failures as table
from financehub_dagster.storage.dead_letters.dead_letters import EXCEPTION_CHARACTERS, WITHOUT_TRACEBACK, failed_again

_WAITING = table.c.status.in_(("open", "parked"))
_DUE = sa.and_(table.c.status == "open", table.c.next_retry_at <= sa.func.now())


def count_due(connection: Connection) -> int:
    """How many rows wait for a retry that is due."""
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(_DUE)).scalar_one()


def parked_by_task(connection: Connection) -> dict[str, int]:
    """How many rows of each task wait for a person, since every retry has failed."""
    found = sa.select(table.c.task_name, sa.func.count()).where(table.c.status == "parked")
    rows = connection.execute(found.group_by(table.c.task_name).order_by(table.c.task_name))
    return {task: int(count) for task, count in rows}


def ids_to_replay(connection: Connection, *, due_only: bool) -> list[int]:
    """Every row that waits, the longest due first: those that are due, or all open and parked ones."""
    waiting = sa.select(table.c.id).where(_DUE if due_only else _WAITING)
    return list(connection.execute(waiting.order_by(table.c.next_retry_at.nulls_last(), table.c.id)).scalars())


def claim(connection: Connection, run_id: str, ids: Sequence[int], *, due_only: bool) -> list[dict[str, Any]]:
    """Take those of `ids` for the replay `run_id` that are held by nobody and are due, or open or parked at all.

    Returns their rows in the order of their ids, without the traceback.
    """
    locks.lock_table(connection, table)
    taken = (
        sa.update(table)
        .where(table.c.id == any_id(ids), _DUE if due_only else _WAITING)
        .values(status="retrying", replay_run_id=run_id, next_retry_at=None)
    )
    rows = connection.execute(taken.returning(*WITHOUT_TRACEBACK)).mappings()
    return sorted((dict(row) for row in rows), key=lambda row: int(row["id"]))


def resolve_claimed(connection: Connection, run_id: str, ids: Sequence[int]) -> int:
    """Close those of `ids` that the replay `run_id` still holds: their work is done; returns how many."""
    return _change_held(connection, run_id, {"status": "resolved", "replay_run_id": None}, ids)


def fail_claimed(connection: Connection, run_id: str, ids: Sequence[int], exception: str) -> int:
    """Give back those of `ids` that the replay `run_id` still holds: their work failed once more; returns how many."""
    return _change_held(connection, run_id, {"exception": exception[:EXCEPTION_CHARACTERS], **failed_again()}, ids)


def park_claimed(connection: Connection, run_id: str, ids: Sequence[int], reason: str) -> int:
    """Park rows that the replay `run_id` holds and that no replay can do, noting why; returns how many that were."""
    exception = sa.literal(f"{reason}; ") + table.c.exception
    return _change_held(connection, run_id, {"status": "parked", "replay_run_id": None, "exception": exception}, ids)


def replays_in_progress(connection: Connection) -> list[str]:
    """The runs that hold rows."""
    query = sa.select(table.c.replay_run_id).where(table.c.status == "retrying").distinct()
    return [run_id for run_id in connection.execute(query).scalars() if run_id is not None]


def give_back(connection: Connection, run_id: str) -> int:
    """Give back all rows of a replay that ended without settling them; returns how many."""
    return _change_held(connection, run_id, failed_again())


def _change_held(connection: Connection, run_id: str, values: dict[str, Any], ids: Sequence[int] | None = None) -> int:
    """Change the rows that the replay `run_id` holds, all of them or those of `ids`; returns how many."""
    locks.lock_table(connection, table)
    change = sa.update(table).where(table.c.status == "retrying", table.c.replay_run_id == run_id)
    if ids is not None:
        change = change.where(table.c.id == any_id(ids))
    return connection.execute(change.values(values)).rowcount
