"""Short statements in a hurry: the gateway's book-keeping, on connections that this process keeps.

Belongs here: those connections, in autocommit, their statements prepared once. Does not belong here: the statements,
and whatever writes data, which runs in transactions of the pool (`engine.transaction`).

A statement over the pool costs four times as much: checked out, pinged, planned and rolled back each time. Its commit
does not wait for the disk either: a crashed PostgreSQL takes longer to come back than the few slots it may forget.
"""

import os
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

CONNECTIONS = 3
"""Kept per process. Eight threads that ask vendors wait for each other at one; the server has a hundred for all."""

type _Slots = "SimpleQueue[psycopg.Connection[Any] | None]"
"""A place for each connection: its own while nobody uses it, None before it is opened."""

_held: "WeakKeyDictionary[sa.Engine, tuple[int, _Slots]]" = WeakKeyDictionary()
_lock = threading.Lock()


def execute(engine: "sa.Engine", statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement that stands for itself, and return its rows; raises DatabaseError.

    Placeholders are psycopg's, %(name)s. On a lost connection it is run once more on a new one: at worst a slot is
    lost or a call is counted twice.
    """
    import psycopg

    slots = _slots(engine)
    kept = slots.get()
    try:
        for again in (True, False):
            if kept is None or kept.closed:
                kept = _connect(engine)
            try:
                cursor = kept.execute(statement, parameters, prepare=True)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                from financehub_dagster.storage.engine import typed_error

                lost = kept.closed
                if lost and again:
                    continue
                translated = typed_error(engine.url, error, lost=lost)
                if translated is None:
                    raise
                raise translated from None
    finally:
        slots.put(kept)
    raise AssertionError("unreachable")


def durable(engine: "sa.Engine", statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Like `execute`, but on disk before it returns, and over the pool: for what must outlive a crash of PostgreSQL."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        result = connection.exec_driver_sql(statement, dict(parameters))
        return [tuple(row) for row in result] if result.returns_rows else []


def _slots(engine: "sa.Engine") -> _Slots:
    with _lock:
        pid, slots = _held.get(engine, (0, None))
        if slots is None or pid != os.getpid():
            slots = SimpleQueue()
            for _ in range(CONNECTIONS):
                slots.put(None)
            _held[engine] = (os.getpid(), slots)
        return slots


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
    """The engine is disposed of: so are its connections here, those in use as soon as nobody holds them."""
    with _lock:
        pid, slots = _held.pop(engine, (0, None))
    while slots is not None and pid == os.getpid() and not slots.empty():
        connection = slots.get()
        if connection is not None:
            connection.close()
