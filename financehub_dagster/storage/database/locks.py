"""Locks that writers hold to the end of their transactions, taken in one order everywhere.

Belongs here: locking a table, or some of its symbols, against other writers. Does not belong here: what is written.

Whoever changes rows that another transaction may change too locks their table first. A transaction locks tables in the
order of their declarations (`tables.metadata`: the data, dead letters, deferred work, the ledger), so that no two of
them wait for each other. Locking a table that comes earlier than one already locked is an error of the program.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import REGCLASS

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection

_SPACE = 7_236_401
"""First half of the advisory locks' keys, the table's oid is the second: any number that nobody else uses."""


_NAMES = 7_236_402
"""The first half of the keys of `lock_name`."""


class LockOrder(RuntimeError):
    """A transaction locks a table that is declared before one it has locked already."""


@dataclass
class _Held:
    """The tables that a transaction has locked, and those of which it has locked only some symbols."""

    whole: set[str] = field(default_factory=set)
    partly: dict[str, frozenset[str]] = field(default_factory=dict)


_held: WeakKeyDictionary[sa.Transaction, _Held] = WeakKeyDictionary()


def lock_table(connection: Connection, table: sa.Table, symbols: Sequence[str] | None = None) -> None:
    """Wait for the writers of `table` before us, and let those after us wait for the end of our transaction.

    With `symbols`, a few hundred at most, writers of others need not wait. A transaction locks the symbols of a table
    once: others than these, or the whole table after them, might be what another transaction waits for us to release.
    """
    held = _held.setdefault(_transaction(connection), _Held())
    if table.name in held.whole:
        return
    if symbols is not None and table.name in held.partly and held.partly[table.name].issuperset(symbols):
        return
    _require_order(table, held)
    statements = _statements(table)
    if symbols is None:
        connection.execute(statements.whole)
        held.whole.add(table.name)
    else:
        connection.execute(statements.shared)
        connection.execute(statements.symbols, {"symbols": list(symbols)})
        held.partly[table.name] = frozenset(symbols)


def _transaction(connection: Connection) -> sa.Transaction:
    transaction = connection.get_transaction()
    if transaction is None:
        transaction = connection.begin()
    return transaction


def _require_order(table: sa.Table, held: _Held) -> None:
    rank = _rank(table.name)
    later = [name for name in held.whole | held.partly.keys() if _rank(name) >= rank]
    if later:
        message = f"{table.name} is locked after {', '.join(sorted(later))}: lock tables in the order of declaration"
        raise LockOrder(message)


@cache
def _rank(name: str) -> tuple[int, str]:
    """Tables that are not declared come last, by name."""
    declared = list(schema.metadata.tables)
    return (declared.index(name) if name in declared else len(declared), name)


@dataclass(frozen=True)
class _Statements:
    whole: sa.Executable
    shared: sa.Executable
    symbols: sa.Executable


@cache
def _statements(table: sa.Table) -> _Statements:
    oid = sa.cast(sa.cast(table.name, REGCLASS), sa.Integer)
    return _Statements(
        sa.select(sa.func.pg_advisory_xact_lock(_SPACE, oid)),
        sa.select(sa.func.pg_advisory_xact_lock_shared(_SPACE, oid)),
        _lock_symbols(oid),
    )


def _lock_symbols(oid: sa.ColumnElement[int]) -> sa.Select[Any]:
    """Locks a hash of each symbol, in one order for all; two symbols of one hash merely wait for each other."""
    symbol = sa.func.unnest(sa.bindparam("symbols", type_=sa.ARRAY(sa.Text))).column_valued("symbol")
    keys = sa.select(sa.func.hashtextextended(symbol, oid).label("key")).distinct().order_by("key").subquery()
    return sa.select(sa.func.pg_advisory_xact_lock(keys.c.key))


def lock_name(connection: Connection, name: str) -> None:
    """Let whoever else locks `name` wait for the end of our transaction, which is to be short."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_NAMES, sa.func.hashtext(name))))
