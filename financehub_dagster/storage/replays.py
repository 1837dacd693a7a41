"""Trying dead letters again: who takes which, and what becomes of those that nobody settled.

Belongs here: claiming rows for a replay and giving them back. Does not belong here: doing the work.

A row is `retrying` from its claim until its work succeeds or fails; two replays never hold the same row.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.engine import Connection
from financehub_dagster.storage.failures import failed_again
from financehub_dagster.storage.tables import task_failures as table

_DUE = sa.and_(table.c.status == "open", table.c.next_retry_at <= sa.func.now())


def count_due(connection: Connection) -> int:
    """How many rows wait for a retry that is due."""
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(_DUE)).scalar_one()


def ids_to_replay(connection: Connection, *, due_only: bool) -> list[int]:
    """Every row that waits, the longest due first: those that are due, or all open and parked ones."""
    which = _DUE if due_only else table.c.status.in_(("open", "parked"))
    return list(connection.execute(sa.select(table.c.id).where(which).order_by(*_ORDER)).scalars())


_ORDER = (table.c.next_retry_at.nulls_last(), table.c.id)


def claim(connection: Connection, run_id: str, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Take those of `ids` that are open or parked and held by nobody for the replay `run_id`; returns the rows."""
    free = (
        sa.select(table.c.id)
        .where(table.c.id.in_(ids), table.c.status.in_(("open", "parked")))
        .order_by(table.c.id)
        .with_for_update(skip_locked=True)
    )
    taken = (
        sa.update(table)
        .where(table.c.id.in_(list(connection.execute(free).scalars())))
        .values(status="retrying", replay_run_id=run_id, next_retry_at=None)
    )
    return [dict(row) for row in connection.execute(taken.returning(table)).mappings()]


def fail_claimed(
    connection: Connection, run_id: str, ids: Sequence[int], *, exception: str, traceback: str | None = None
) -> int:
    """Give back the rows that the replay `run_id` still holds: their work failed once more; returns how many."""
    change = _held(run_id).where(table.c.id.in_(ids))
    return connection.execute(change.values(exception=exception, traceback=traceback, **failed_again())).rowcount


def park_claimed(connection: Connection, run_id: str, ids: Sequence[int], reason: str) -> int:
    """Park rows that the replay `run_id` holds and that no replay can do, noting why; returns how many."""
    change = _held(run_id).where(table.c.id.in_(ids))
    values = {"status": "parked", "replay_run_id": None, "exception": reason}
    return connection.execute(change.values(values)).rowcount


def replays_in_progress(connection: Connection) -> list[str]:
    """The runs that hold rows."""
    query = sa.select(table.c.replay_run_id).where(table.c.status == "retrying").distinct()
    return [run_id for run_id in connection.execute(query).scalars() if run_id is not None]


def give_back(connection: Connection, run_id: str) -> int:
    """Give back all rows of a replay that ended without settling them; returns how many."""
    return connection.execute(_held(run_id).values(failed_again())).rowcount


def _held(run_id: str) -> sa.Update:
    return sa.update(table).where(table.c.status == "retrying", table.c.replay_run_id == run_id)
