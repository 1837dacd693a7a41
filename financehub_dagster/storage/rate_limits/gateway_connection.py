"""Short statements in a hurry: the gateway's book-keeping, on a connection that this process keeps.

Belongs here: that connection, in autocommit, its statements prepared once. Does not belong here: the statements, and
whatever writes data, which runs in transactions of the pool (`database.engine.transaction`).

A statement over the pool costs four times as much: checked out, pinged, planned and rolled back each time. Its commit
does not wait for the disk either: a crashed PostgreSQL takes longer to come back than the few slots it may forget.
"""

import os
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

type Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Held:
    """A connection of the process `pid`; whoever holds `turn` may send a statement.

    pooled: its sessions belong to a pooler, so that each statement brings its settings in a transaction of its own.
    """

    connection: "psycopg.Connection[Any]"
    pooled: bool
    pid: int = field(default_factory=os.getpid)
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def usable(self) -> bool:
        return self.pid == os.getpid() and not self.connection.closed


_held: "WeakKeyDictionary[sa.Engine, _Held]" = WeakKeyDictionary()
_lock = threading.Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def execute(engine: "sa.Engine", statement: str, parameters: Mapping[str, Any]) -> Rows:
    """Run one statement that stands for itself, and return its rows; raises DatabaseError.

    Placeholders are psycopg's, %(name)s. On a lost connection it is run once more on a new one: at worst a slot is
    lost or a call is counted twice.
    """
    return timed(engine, statement, parameters)[1]


def timed(engine: "sa.Engine", statement: str, parameters: Mapping[str, Any]) -> tuple[float, Rows]:
    """Like `execute`; tells beside the rows when the statement was sent, on the clock of time.monotonic.

    Until then it may have waited for another thread's.
    """
    import psycopg

    for again in (True, False):
        held = _connection(engine)
        try:
            with held.turn:
                sent_at = time.monotonic()
                with held.connection.transaction() if held.pooled else nullcontext():
                    if held.pooled:
                        held.connection.execute("set local synchronous_commit = off; set local jit = off")
                    cursor = held.connection.execute(statement, parameters, prepare=True)
                return sent_at, cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            from financehub_dagster.storage.database.refusals import ends_session, statement_error

            lost = held.connection.closed or ends_session(error)
            if lost:
                _forget(engine, held)
            if lost and again:
                continue
            translated = statement_error(engine.url, error, lost=lost)
            if translated is None:
                raise
            raise translated from None
    raise AssertionError("unreachable")


def durable(engine: "sa.Engine", statement: str, parameters: Mapping[str, Any]) -> tuple[float, Rows]:
    """Like `timed`, but on disk before it returns, and over the pool: for what must outlive a crash of PostgreSQL."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        sent_at = time.monotonic()
        result = connection.exec_driver_sql(statement, dict(parameters))
        return sent_at, [tuple(row) for row in result] if result.returns_rows else []


def _connection(engine: "sa.Engine") -> _Held:
    with _lock:
        held = _held.get(engine)
        if held is None or not held.usable:
            held = _held[engine] = _Held(*_connect(engine))
        return held


def _connect(engine: "sa.Engine") -> "tuple[psycopg.Connection[Any], bool]":
    """A connection, and whether a pooler lends its sessions."""
    from sqlalchemy import event

    from financehub_dagster.storage.database.session_settings import is_pooled

    taken = engine.raw_connection()
    connection: psycopg.Connection[Any] = taken.driver_connection  # type: ignore[assignment]
    pooled = is_pooled(taken)
    taken.detach()
    connection.autocommit = True
    if not pooled:
        connection.execute("set synchronous_commit = off; set plan_cache_mode = force_generic_plan; set jit = off")
    if not event.contains(engine, "engine_disposed", _close):
        event.listen(engine, "engine_disposed", _close)
    return connection, pooled


def _close(engine: "sa.Engine") -> None:
    """The engine is disposed of: so is its connection here."""
    with _lock:
        held = _held.pop(engine, None)
    if held is not None and held.pid == os.getpid():
        held.connection.close()


def _forget(engine: "sa.Engine", held: _Held) -> None:
    with _lock:
        if _held.get(engine) is held:
            del _held[engine]
