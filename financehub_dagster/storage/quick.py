"""Short statements in a hurry: the gateway's book-keeping, on a connection that this process keeps.

Belongs here: that connection, in autocommit, its statements prepared once. Does not belong here: the statements, and
whatever writes data, which runs in transactions of the pool (`engine.transaction`).

A statement over the pool costs four times as much: checked out, pinged, planned and rolled back each time. Its commit
does not wait for the disk either: a crashed PostgreSQL takes longer to come back than the few slots it may forget.
"""

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

_held: "WeakKeyDictionary[sa.Engine, tuple[int, psycopg.Connection[Any]]]" = WeakKeyDictionary()
_lock = threading.Lock()


def execute(engine: "sa.Engine", statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement that stands for itself, and return its rows; raises DatabaseError.

    Placeholders are psycopg's, %(name)s. On a lost connection it is run once more on a new one: at worst a slot is
    lost or a call is counted twice.
    """
    import psycopg

    for again in (True, False):
        connection = _connection(engine)
        try:
            # psycopg lets one statement at a time onto a connection, whichever threads ask.
            cursor = connection.execute(statement, parameters, prepare=True)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            from financehub_dagster.storage.engine import typed_error

            lost = connection.closed
            if lost:
                _forget(engine, connection)
            if lost and again:
                continue
            translated = typed_error(engine.url, error, lost=lost)
            if translated is None:
                raise
            raise translated from None
    raise AssertionError("unreachable")


def durable(engine: "sa.Engine", statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Like `execute`, but on disk before it returns, and over the pool: for what must outlive a crash of PostgreSQL."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        result = connection.exec_driver_sql(statement, dict(parameters))
        return [tuple(row) for row in result] if result.returns_rows else []


def _connection(engine: "sa.Engine") -> "psycopg.Connection[Any]":
    with _lock:
        pid, connection = _held.get(engine, (0, None))
        if connection is None or pid != os.getpid() or connection.closed:
            connection = _connect(engine)
            _held[engine] = (os.getpid(), connection)
        return connection


def _connect(engine: "sa.Engine") -> "psycopg.Connection[Any]":
    from sqlalchemy import event

    pooled = engine.raw_connection()
    connection: psycopg.Connection[Any] = pooled.driver_connection  # type: ignore[assignment]
    pooled.detach()
    connection.autocommit = True
    connection.execute("set synchronous_commit = off; set plan_cache_mode = force_generic_plan; set jit = off")
    if not event.contains(engine, "engine_disposed", _close):
        event.listen(engine, "engine_disposed", _close)
    return connection


def _close(engine: "sa.Engine") -> None:
    """The engine is disposed of: so is its connection here."""
    with _lock:
        pid, connection = _held.pop(engine, (0, None))
    if connection is not None and pid == os.getpid():
        connection.close()


def _forget(engine: "sa.Engine", connection: "psycopg.Connection[Any]") -> None:
    with _lock:
        if _held.get(engine, (0, None))[1] is connection:
            del _held[engine]
