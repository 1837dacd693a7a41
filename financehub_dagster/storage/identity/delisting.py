"""The end of an instrument: its last day, or that it left the universe, and the work that nobody has to do any more.

Belongs here: writing it down, and what follows from it in the ledger. Does not belong here: which sessions there are
(`market.calendars`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.dead_letters.dead_letters import LIVE, discard_failures
from financehub_dagster.storage.queries.instruments import deactivate_instruments, list_instruments
from financehub_dagster.storage.queries.partition_keys import RANGE
from financehub_dagster.tables import BARS_OF, LEDGER_TABLES


@dataclass(frozen=True)
class Delisting:
    """What was written down: the last day, None if it is listed again; whether that is new; and the work it ended."""

    symbol: str
    delisted_on: date | None
    changed: bool
    ended: int = 0


def delist(connection: Connection, symbol: str, last: date | None, now: datetime) -> Delisting:
    """Expect nothing of an instrument after its day `last`, or everything again with None; `now` is aware.

    Its dead letters and deferred work on later days are closed, and the ledger is settled, in the caller's transaction.
    Stored rows stay. Raises UnknownInstruments.
    """
    [instrument] = list_instruments(connection, symbols=[symbol], active=None)
    name, table = instrument.symbol, schema.instruments
    locks.lock_table(connection, table)
    change = (
        sa.update(table)
        .where(table.c.symbol == name, table.c.delisted_on.is_distinct_from(last))
        .values(delisted_on=last, updated_at=sa.func.now())
    )
    changed = bool(connection.execute(change).rowcount)
    ended = 0 if last is None else _end_work(connection, name, last, now)
    if changed or ended:
        _settle(connection, name, now)
    return Delisting(name, last, changed, ended)


def remove(connection: Connection, symbols: Sequence[str]) -> int:
    """Take instruments out of the universe; returns how many dead letters and pieces of deferred work that closes.

    Stored rows stay. Raises UnknownInstruments.
    """
    deactivate_instruments(connection, symbols)
    return close_work(connection, symbols)


def close_work(connection: Connection, symbols: Sequence[str]) -> int:
    """Close the dead letters and the deferred work of instruments that have left the universe; returns how many."""
    return _close(connection, symbols, "not in the universe any more", lambda _: sa.true()) if symbols else 0


def _end_work(connection: Connection, symbol: str, last: date, now: datetime) -> int:
    """Close what waits for days after `last`; work without a day is about now."""
    return _close(connection, [symbol], f"delisted on {last}", lambda key: _begins_after(key, last, now))


def _close(
    connection: Connection,
    symbols: Sequence[str],
    reason: str,
    ended: Callable[[sa.ColumnElement[str]], sa.ColumnElement[bool]],
) -> int:
    """Close the dead letters and the deferred work of instruments whose partition key has `ended`."""
    failures, waiting = schema.task_failures, schema.deferred_work
    locks.lock_table(connection, failures)
    mine = sa.and_(failures.c.symbol == any_of(symbols), failures.c.status == any_of(LIVE))
    found = sa.select(failures.c.id).where(mine, ended(failures.c.partition_key))
    closed = discard_failures(connection, list(connection.execute(found).scalars()), reason)
    locks.lock_table(connection, waiting)
    gone = sa.delete(waiting).where(waiting.c.symbol == any_of(symbols), ended(waiting.c.partition_key))
    return len(closed) + connection.execute(gone).rowcount


def _begins_after(key: sa.ColumnElement[str], last: date, now: datetime) -> sa.ColumnElement[bool]:
    first = sa.collate(sa.func.split_part(key, RANGE, 1), "C")
    return sa.or_(first > last.isoformat(), sa.and_(first == "", sa.literal(last < now.date())))


def _settle(connection: Connection, symbol: str, now: datetime) -> None:
    from financehub_dagster.storage.coverage import ledger

    for bars in BARS_OF:
        if bars in LEDGER_TABLES:
            ledger.settle(connection, bars, [symbol], now.date() - timedelta(days=31), now.date(), now)
