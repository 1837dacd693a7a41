"""From the ledger's gaps to orders: what is to be asked for next, for whom, most important first.

Belongs here: which gaps are due and how they are put together. Does not belong here: launching runs (automation), and
which vendors may be asked (`availability`).

Gaps are read for some instruments at a time, in the order of their importance, until there are orders enough: a
million gaps take no more memory than the instruments of one batch.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import batched

import sqlalchemy as sa

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.storage.coverage import facts
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables.catalog import BARS_OF, INDICATORS, LEDGER_TABLES

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
class Order:
    """One run's work: a table, the first days of its first and last month, the instruments, most important first.

    sessions counts the gaps that made the order; work that was put off and is due again counts none.
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
) -> list[Order]:
    """At most `limit` orders for each of `tables` that bring its due gaps and put-off work to an end.

    A gap is due unless a vendor had nothing for it and is asked again later; put-off work is due when its time has
    come. Instruments for which no vendor is `able` to answer wait; indicators need none. `symbols` (None: all) and
    `without` narrow the choice.
    """
    orders: list[Order] = []
    wanted = None if symbols is None else frozenset(symbols)
    left_out = frozenset(without)
    for table in tables:
        kinds = BARS_OF[table] if table in BARS_OF else [kind for group in BARS_OF.values() for kind in group]
        chosen = [
            instrument
            for instrument in list_instruments(connection, asset_types=kinds)
            if instrument.symbol not in left_out
            and (wanted is None or instrument.symbol in wanted)
            and (table == INDICATORS or able(instrument))
        ]
        orders += _plan_table(connection, table, now, limit, chosen)
    return orders


def _plan_table(
    connection: Connection, table: str, now: datetime, limit: int, instruments: Sequence[Instrument]
) -> list[Order]:
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
        Order(table, _month(draft.span.first), _month(draft.span.last), tuple(draft.symbols), draft.span.sessions)
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
    for symbol, month, sessions in _due_gaps(connection, table, symbols, now):
        at = _count(month)
        found.setdefault(symbol, []).append(_Span(at, at, sessions))
    for symbol, first, last in _due_again(connection, table, symbols, now):
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


# Months of which every missing session waits for its next question are left out.
_DUE_GAPS = sa.text("""
    WITH waiting AS (
        SELECT symbol, CAST(date_trunc('month', date) AS date) AS month, array_agg(date) AS dates
        FROM empty_answers
        WHERE table_name = :table AND symbol = ANY(CAST(:symbols AS text[])) AND next_ask_at > :now
        GROUP BY 1, 2
    )
    SELECT c.symbol, c.month, cardinality(c.gap)
    FROM coverage c LEFT JOIN waiting w USING (symbol, month)
    WHERE c.table_name = :table AND c.symbol = ANY(CAST(:symbols AS text[])) AND c.gap <> CAST('{}' AS date[])
        AND (w.dates IS NULL OR NOT c.gap <@ w.dates)
    ORDER BY c.symbol, c.month
""")


def _due_gaps(
    connection: Connection, table: str, symbols: Sequence[str], now: datetime
) -> Iterator[tuple[str, date, int]]:
    asked = {"table": table, "symbols": list(symbols), "now": now}
    return ((symbol, month, sessions) for symbol, month, sessions in connection.execute(_DUE_GAPS, asked))


def _due_again(
    connection: Connection, table: str, symbols: Sequence[str], now: datetime
) -> Iterator[tuple[str, date, date]]:
    """Work on `symbols` that was put off until a time that has come: the months of its partitions."""
    for key, symbol, kwargs in facts.put_off(connection, table, symbols, until=now):
        months = facts.months_of(key)
        if months is None:
            continue
        named = [symbol] if symbol else facts.symbols_of(kwargs)
        for each in symbols if named is None else [name for name in named if name in symbols]:
            yield each, *months


def _count(month: date) -> int:
    return month.year * 12 + month.month - 1


def _month(count: int) -> date:
    return date(count // 12, count % 12 + 1, 1)
