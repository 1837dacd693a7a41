"""From the ledger's gaps to orders: what is to be asked for next, for whom, most important first.

Belongs here: which gaps are due and how they are put together. Does not belong here: launching runs (automation), and
which vendors may be asked (`rate_limits.availability`). Imports numpy: import it inside functions.

Gaps are read for some instruments at a time, in the order of their importance, until there are orders enough: a
million gaps take no more memory than the instruments of one batch.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import batched

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market import coverage
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.storage.coverage import confirmed_empty, facts, gaps, minute_days
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables import DERIVED, INTRADAY, LEDGER_TABLES, kinds_of

BATCH = 200
"""Instruments whose gaps are read at a time."""
MOST_SYMBOLS = 50
"""Instruments of one order: at a call a second such a run is done in a minute, and then others have a turn."""
SPLIT_MONTHS = 12
"""Gaps further apart become two orders: asking for the months between would store nothing."""
LIKE_MONTHS = 3
"""Instruments whose ranges begin and end within so many months of each other share an order."""

type Able = Callable[[Instrument], bool]


@dataclass(frozen=True)
class HealingBatch:
    """One run's work: a table, its first and last partition, the instruments, most important first.

    sessions counts the gaps that made the order; work that was deferred and is due again counts none.
    """

    table: str
    first: date
    last: date
    symbols: tuple[str, ...]
    sessions: int = 0


@dataclass(frozen=True)
class _Span:
    first: int
    last: int
    sessions: int = 0

    def joined(self, other: "_Span") -> "_Span":
        return _Span(min(self.first, other.first), max(self.last, other.last), self.sessions + other.sessions)


@dataclass
class _Draft:
    """An order that may still grow; months are counted from year 0."""

    span: _Span
    symbols: list[str] = field(default_factory=list)

    def takes(self, span: _Span) -> bool:
        near = max(abs(self.span.first - span.first), abs(self.span.last - span.last)) <= LIKE_MONTHS
        return near and len(self.symbols) < MOST_SYMBOLS


def plan(
    connection: Connection,
    now: datetime,
    limit: int,
    *,
    tables: Sequence[str] = LEDGER_TABLES,
    symbols: Sequence[str] | None = None,
    without: Collection[str] = (),
    able: Able = lambda _: True,
) -> list[HealingBatch]:
    """At most `limit` orders for each of `tables` that bring its due gaps and deferred work to an end.

    A gap is due unless a vendor had nothing for it and is asked again later; deferred work is due when its time has
    come. Instruments for which no vendor is `able` to answer wait; computed tables need none. `symbols` (None: all) and
    `without` narrow the choice.
    """
    orders: list[HealingBatch] = []
    left_out = frozenset(without)
    for table in tables:
        if table in INTRADAY:
            orders += _plan_minutes(connection, table, now, limit, symbols, left_out, able)
            continue
        wanted = _with_open_work(connection, table, now, symbols)
        chosen = [
            instrument
            for instrument in list_instruments(connection, kinds_of(table), wanted, all_known=False)
            if instrument.symbol not in left_out and (table in DERIVED or able(instrument))
        ]
        orders += _plan_table(connection, table, now, limit, chosen)
    return orders


def _plan_minutes(
    connection: Connection,
    table: str,
    now: datetime,
    limit: int,
    symbols: Sequence[str] | None,
    left_out: Collection[str],
    able: Able,
) -> list[HealingBatch]:
    """Orders for days, of instruments that lack the same ones."""
    groups: dict[tuple[date, date], list[str]] = {}
    for each in minute_days.read_days(connection, now, symbols, to_plan=True):
        if each.instrument.symbol in left_out or not able(each.instrument):
            continue
        due = minute_days.due_days(each, now)
        if due is not None and (due in groups or len(groups) < limit):
            groups.setdefault(due, []).append(each.instrument.symbol)
    return [HealingBatch(table, *days, tuple(some[:MOST_SYMBOLS]), len(some)) for days, some in groups.items()]


def _with_open_work(
    connection: Connection, table: str, now: datetime, symbols: Sequence[str] | None
) -> Sequence[str] | None:
    """Those of `symbols` (None: all) that may have a gap or deferred work that is due."""
    found = set(connection.execute(_OPEN_WORK, {"table": table, "now": now}).scalars())
    if "" in found:  # work of a whole task
        return symbols
    return sorted(found if symbols is None else found.intersection(symbols))


# Days without session between two that wait for different times may be left over: such a gap is looked at in vain.
_OPEN_WORK = sa.text("""
    SELECT c.symbol
    FROM coverage c
    LEFT JOIN (
        SELECT symbol, range_agg(sessions) AS sessions FROM empty_answers
        WHERE table_name = :table AND next_ask_at > :now GROUP BY symbol
    ) AS waiting USING (symbol)
    WHERE c.table_name = :table AND c.gap <> '{}'
        AND c.gap - coalesce(waiting.sessions, CAST('{}' AS datemultirange)) <> '{}'
    UNION SELECT symbol FROM deferred_work WHERE task_name = :table AND until <= :now
""")


def _plan_table(
    connection: Connection, table: str, now: datetime, limit: int, instruments: Sequence[Instrument]
) -> list[HealingBatch]:
    drafts: list[_Draft] = []
    for batch in batched(instruments, BATCH):
        names = [instrument.symbol for instrument in batch]
        due = _due(connection, table, names, now)
        for instrument in batch:
            if instrument.symbol in due:
                _assign(instrument.symbol, due[instrument.symbol], drafts, limit)
        if len(drafts) >= limit:
            break
    return [
        HealingBatch(
            table, _month(draft.span.first), _month(draft.span.last), tuple(draft.symbols), draft.span.sessions
        )
        for draft in drafts
    ]


def _assign(symbol: str, spans: Sequence[_Span], drafts: list[_Draft], limit: int) -> None:
    """Put an instrument's spans to orders of like range, or to new ones while there may be more."""
    for span in spans:
        for draft in drafts:
            if draft.takes(span) and symbol not in draft.symbols:
                draft.span = draft.span.joined(span)
                draft.symbols.append(symbol)
                break
        else:
            if len(drafts) < limit:
                drafts.append(_Draft(span, [symbol]))


def _due(connection: Connection, table: str, symbols: Sequence[str], now: datetime) -> dict[str, list[_Span]]:
    """What is due of each of `symbols` that has anything: spans of months, none near another, in order."""
    found: dict[str, list[_Span]] = {}
    for symbol, span in _due_gaps(connection, table, symbols, now):
        found.setdefault(symbol, []).append(span)
    again = facts.deferred(connection, table, symbols, until=now)
    for symbol, first, last in facts.pieces(again, symbols):
        found.setdefault(symbol, []).append(_Span(_count(first), _count(last)))
    return {symbol: _merged(spans) for symbol, spans in found.items()}


def _merged(spans: Sequence[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.first, span.last)):
        if merged and span.first - merged[-1].last <= SPLIT_MONTHS:
            merged[-1] = merged[-1].joined(span)
        else:
            merged.append(replace(span))
    return merged


def _due_gaps(connection: Connection, table: str, symbols: Sequence[str], now: datetime) -> Iterator[tuple[str, _Span]]:
    """The months of which a missing session does not wait for its next question, near ones together."""
    for group in gaps.read_groups(connection, symbols):
        if table not in group.ranges or not group.sessions.size or not group.ranges[table]["gap"].rows.size:
            continue
        axis = group.axis(table)
        missing, count = group.flags(table, "gap"), len(group.symbols)
        waiting = confirmed_empty.waiting(connection, table, group.symbols, now)
        due = missing & ~coverage.in_ranges(axis, waiting, count)
        months = coverage.month_starts(axis[0].item(), axis[-1].item())
        rows, places = np.nonzero(coverage.by_month(axis, due, months))
        if not rows.size:
            continue
        lacking = coverage.by_month(axis, missing, months)[rows, places]
        begins = np.flatnonzero(np.r_[True, (np.diff(rows) != 0) | (np.diff(places) > SPLIT_MONTHS)])
        ends = np.r_[begins[1:], rows.size] - 1
        first = _count(months[0].item())
        found = (
            rows[begins],
            places[begins] + first,
            places[ends] + first,
            np.add.reduceat(lacking, begins, dtype=np.int64),
        )
        for row, start, end, sessions in zip(*(each.tolist() for each in found), strict=True):
            yield group.symbols[row], _Span(start, end, sessions)


def _count(month: date) -> int:
    return month.year * 12 + month.month - 1


def _month(count: int) -> date:
    return date(count // 12, count % 12 + 1, 1)
