"""The ledger: of every instrument and month, what is stored and what became of every other session.

Belongs here: keeping `coverage` true, a few rows at a time or all of them, by one and the same computation. Does not
belong here: the facts (`facts`), the arithmetic (`market.coverage`), and what is done about gaps (`backfill_planner`).
Imports numpy and calendars: import it inside functions.

Whoever changes a fact settles the rows concerned as the last act of its transaction: rows of the table, its live dead
letters, the work put off, the vendors' empty answers, the universe. Settlers hold the ledger's lock from before they
read to the end of their transactions, so that the last one has seen what all others did.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import batched

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from financehub_dagster.market import coverage
from financehub_dagster.market.coverage import Masks, Months, States
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.storage.coverage import confirmed_empty
from financehub_dagster.storage.coverage import facts as ledger_facts
from financehub_dagster.storage.coverage.confirmed_empty import Answer
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.array_parameters import any_of, side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.storage.upsert import upsert
from financehub_dagster.storage.upsert.column_encoding import pack_dates
from financehub_dagster.tables.catalog import BARS_OF, INDICATORS, LEDGER_TABLES

__all__ = ["Answer", "answered", "rebuild", "refresh", "settle"]

BATCH = 100
"""Instruments settled at a time: 20,000 rows of the ledger for seventeen years, some 10 MB."""


def settle(
    connection: Connection,
    table: str,
    symbols: Sequence[str] | None,
    first_month: date,
    last_month: date,
    now: datetime,
) -> int:
    """Recompute the rows of `symbols` (None: all active) for these months; returns how many were wrong.

    Any day of a month stands for it; months outside the history are passed over. Settling a table of bars settles the
    indicators of the same instruments too, since every bar expects its row there; other tables have no rows to settle.
    One of `symbols` that is not active, or gone, loses its rows; instruments that left lose theirs at the next refresh.
    """
    if table not in LEDGER_TABLES:
        return 0
    history = ledger_facts.history(now)
    first, last = max(first_month, history.first), min(last_month, history.last)
    locks.lock_table(connection, schema.coverage)
    changed = 0
    for bars, kinds in BARS_OF.items():
        if table in (bars, INDICATORS):
            active = list_instruments(connection, kinds, symbols, all_known=False)
            only = INDICATORS if table == INDICATORS else None
            changed += _settle_all(connection, bars, active, Months.spanning(first, last), now, only=only)
    return changed if symbols is None else changed + _forget_gone(connection, symbols)


def answered(connection: Connection, table: str, answers: Sequence[Answer], now: datetime) -> None:
    """Settle a table of bars after a vendor's answers, and write down which sessions they had nothing for.

    Call it after the answers' rows are written and the dead letters they resolve are closed.
    """
    locks.lock_table(connection, schema.coverage)
    asked_for = [answer.symbol for answer in answers]
    active = list_instruments(connection, BARS_OF[table], asked_for, all_known=False)
    if not active:
        return
    symbols = [instrument.symbol for instrument in active]
    reopened = confirmed_empty.reopen(connection, table, symbols)
    days = [day for answer in answers for day in (answer.start, answer.end)] + reopened
    history = ledger_facts.history(now)
    months = Months.spanning(max(min(days), history.first), min(max(days), history.last))
    expected = ledger_facts.finished(active, months, now)
    stored = ledger_facts.stored(connection, table, symbols, months)
    asked = ledger_facts.finished(active, months, min(answer.asked_at for answer in answers))
    confirmed_empty.record(connection, table, answers, symbols, months, asked & ~stored, now)
    known = ledger_facts.answered_empty(connection, table, symbols, months)
    confirmed_empty.forget(connection, table, symbols, months, known & stored)
    _settle(connection, table, active, months, now, expected=expected, stored=stored)


def refresh(connection: Connection, now: datetime) -> int:
    """Make the rows of new instruments and of newly finished sessions, drop those of instruments that left.

    Returns how many rows changed. Two reads when there is nothing to do.
    """
    changed = 0
    for bars, kinds in BARS_OF.items():
        active = list_instruments(connection, asset_types=kinds)
        months = ledger_facts.history(now)
        expected = coverage.counts(ledger_facts.finished(active, months, now))
        recent = max(months.count - 2, 0)
        found = _expected_so_far(connection, bars, months.starts[recent].item()) if months.count else {}
        wanted = {
            instrument.symbol: (int(row[:recent].sum()), int(row[recent:].sum()))
            for instrument, row in zip(active, expected, strict=True)
        }
        behind = [i for i in active if found.get(i.symbol, (0, 0)) != wanted[i.symbol]]
        started = [i for i in behind if found.get(i.symbol, (0, 0))[0] == wanted[i.symbol][0]]
        new = [i for i in behind if found.get(i.symbol, (0, 0))[0] != wanted[i.symbol][0]]
        for instruments, first in ((started, recent), (new, 0)):
            if instruments:
                locks.lock_table(connection, schema.coverage)
                span = Months(months.starts[first].item(), months.count - first)
                changed += _settle_all(connection, bars, instruments, span, now)
        gone = [symbol for symbol in found if symbol not in wanted]
        if gone:
            locks.lock_table(connection, schema.coverage)
            changed += _forget_gone(connection, gone)
    return changed


def rebuild(connection: Connection, now: datetime) -> int:
    """Compute the whole ledger from the facts; returns how many rows were wrong, missing or too many."""
    locks.lock_table(connection, schema.coverage)
    months = ledger_facts.history(now)
    rows = schema.coverage.c
    outside = sa.or_(
        rows.table_name.not_in(LEDGER_TABLES), rows.month != sa.all_(sa.cast(months.starts.tolist(), sa.ARRAY(sa.Date)))
    )
    changed = connection.execute(sa.delete(schema.coverage).where(outside)).rowcount
    for bars, kinds in BARS_OF.items():
        changed += _settle_all(connection, bars, list_instruments(connection, asset_types=kinds), months, now)
    return changed + _forget_gone(connection, None)


def _settle_all(
    connection: Connection,
    bars: str,
    instruments: Sequence[Instrument],
    months: Months,
    now: datetime,
    *,
    only: str | None = None,
) -> int:
    return sum(_settle(connection, bars, batch, months, now, only=only) for batch in batched(instruments, BATCH))


def _settle(
    connection: Connection,
    bars: str,
    instruments: Sequence[Instrument],
    months: Months,
    now: datetime,
    *,
    only: str | None = None,
    expected: Masks | None = None,
    stored: Masks | None = None,
) -> int:
    """Recompute the rows of these instruments, all active and taken by the table `bars`, and of their indicators."""
    if not instruments or not months.count:
        return 0
    symbols = [instrument.symbol for instrument in instruments]
    stored = ledger_facts.stored(connection, bars, symbols, months) if stored is None else stored
    found: dict[str, States] = {}
    if only in (None, bars):
        expected = ledger_facts.finished(instruments, months, now) if expected is None else expected
        facts = ledger_facts.facts(connection, bars, symbols, months, expected, stored)
        found[bars] = coverage.settle(facts)
    if only in (None, INDICATORS):
        computed = ledger_facts.stored(connection, INDICATORS, symbols, months)
        facts = ledger_facts.facts(connection, INDICATORS, symbols, months, stored, computed)
        found[INDICATORS] = coverage.settle(facts)
    columns = _columns(found, symbols, months, now)
    written = upsert.write(connection, schema.coverage, columns, run_id=None, keep_revisions=False)
    return written.inserted + written.updated + _drop_surplus(connection, columns, list(found), symbols, months)


def _columns(
    found: Mapping[str, States], symbols: Sequence[str], months: Months, now: datetime
) -> dict[str, NDArray[np.generic]]:
    """The rows of `coverage`: one for each table, instrument and month of which a session is expected."""
    parts: dict[str, list[NDArray[np.generic]]] = {column.name: [] for column in schema.coverage.columns}
    names, starts = np.array(symbols, object), months.starts
    for table, states in found.items():
        rows, places = np.nonzero(states.expected)
        parts["table_name"].append(np.full(len(rows), table, object))
        parts["symbol"].append(names[rows])
        parts["month"].append(starts[places])
        parts["expected"].append(coverage.counts(states.expected[rows, places]))
        parts["stored"].append(coverage.counts(states.stored[rows, places]))
        for name in ("empty", "gap", "dead_lettered", "deferred"):
            parts[name].append(_dates(getattr(states, name)[rows, places], starts[places]))
        parts["settled_at"].append(np.full(len(rows), np.datetime64(now.replace(tzinfo=None), "us")))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _dates(masks: Masks, starts: NDArray[np.datetime64]) -> NDArray[np.object_]:
    """Masks as arrays of dates in their binary form, the same object for the same sessions."""
    month = np.where(masks == 0, 0, starts.astype("datetime64[M]").astype(np.int64))
    pairs, where = np.unique((month << 32) | masks, return_inverse=True)
    dates = np.empty(len(pairs), object)
    for place, pair in enumerate(pairs.tolist()):
        dates[place] = pack_dates(coverage.days_of(np.datetime64(pair >> 32, "M"), pair & 0xFFFFFFFF))
    return dates[where]


def _drop_surplus(
    connection: Connection,
    columns: Mapping[str, NDArray[np.generic]],
    names: Sequence[str],
    symbols: Sequence[str],
    months: Months,
) -> int:
    """Delete rows of these tables, instruments and months of which no session is expected any more."""
    rows = schema.coverage.c
    ours = sa.and_(
        rows.table_name.in_(names), rows.symbol == any_of(symbols), rows.month.between(months.first, months.last)
    )
    count = connection.execute(sa.select(sa.func.count()).select_from(schema.coverage).where(ours)).scalar_one()
    if count == len(columns["month"]):
        return 0
    right = side_by_side(
        table_name=(columns["table_name"].tolist(), sa.Text),
        symbol=(columns["symbol"].tolist(), sa.Text),
        month=(columns["month"].tolist(), sa.Date),
    )
    is_right = sa.exists().where(
        right.c.table_name == rows.table_name, right.c.symbol == rows.symbol, right.c.month == rows.month
    )
    return connection.execute(sa.delete(schema.coverage).where(ours, ~is_right)).rowcount


def _expected_so_far(connection: Connection, table: str, recent: date) -> dict[str, tuple[int, int]]:
    """The sessions expected by the rows there are of each instrument, before `recent` and from then on."""
    rows = schema.coverage.c
    early, late = (sa.func.coalesce(sa.func.sum(rows.expected).filter(when), 0) for when in _sides(rows.month, recent))
    query = sa.select(rows.symbol, early, late).where(rows.table_name == table).group_by(rows.symbol)
    return {symbol: (before, after) for symbol, before, after in connection.execute(query)}


def _sides(month: sa.ColumnElement[date], recent: date) -> Iterator[sa.ColumnElement[bool]]:
    yield month < recent
    yield month >= recent


def _forget_gone(connection: Connection, symbols: Sequence[str] | None) -> int:
    """Delete the rows of those of `symbols` (None: of all) that are not active, or not taken by that table."""
    rows, active = schema.coverage.c, schema.instruments.c
    is_active = sa.exists().where(active.symbol == rows.symbol, active.is_active)
    taken = sa.or_(
        *(
            sa.and_(
                rows.table_name.in_((bars, INDICATORS)),
                sa.exists().where(active.symbol == rows.symbol, active.asset_type.in_([str(kind) for kind in kinds])),
            )
            for bars, kinds in BARS_OF.items()
        )
    )
    gone = sa.delete(schema.coverage).where(sa.or_(~is_active, ~taken))
    if symbols is not None:
        gone = gone.where(rows.symbol == any_of(symbols))
    return connection.execute(gone).rowcount
