"""What the ledger is computed from, read for many instruments at once.

Belongs here: the questions, answered as dates and ranges (`market.coverage`). Does not belong here: what follows from
the answers, and writing (`ledger`). Imports numpy and calendars: import it inside functions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from psycopg import sql

from financehub_dagster.market import calendars
from financehub_dagster.market.calendars import Market, market_of
from financehub_dagster.market.coverage import Dates, Days, Facts, Ranges, Rows, at_dates, in_ranges
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import confirmed_empty
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection, raw_cursor
from financehub_dagster.storage.dead_letters.dead_letters import LIVE
from financehub_dagster.storage.queries.partition_keys import ends_of

EPOCH = np.datetime64("2000-01-01", "D")

type Span = tuple[date, date]
"""The first and the last day."""


def history(now: datetime) -> Span:
    """From the first day of the month of FINANCEHUB_HISTORY_START to today."""
    return get_settings().financehub_history_start.replace(day=1), now.date()


def whole_months(first: date, last: date) -> Span:
    """From the first day of the month of `first` to the last day of that of `last`."""
    after = (last.replace(day=1) + timedelta(days=32)).replace(day=1)
    return first.replace(day=1), after - timedelta(days=1)


def finished(of: Instrument, first: date, now: datetime) -> Days:
    """The sessions since `first` that had finished at `now`; of unknown sessions none is expected."""
    if first > now.date():
        return np.zeros(0, "datetime64[D]")
    sessions = calendars.known(of, first, now.date())
    return sessions.dates[sessions.closes <= calendars.instant(now)]


def finished_by_calendar(instruments: Iterable[Instrument], first: date, now: datetime) -> dict[Market, Days]:
    """The finished sessions since `first`, for the calendars of `instruments`."""
    found: dict[Market, Days] = {}
    for instrument in instruments:
        if market_of(instrument) not in found:
            found[market_of(instrument)] = finished(instrument, first, now)
    return found


@dataclass(frozen=True)
class Known:
    """What is known of some instruments in one table, by their number."""

    stored: Dates
    empty: Ranges
    deferred: Ranges
    dead: Ranges

    def facts(self, sessions: Days, place: Rows, count: int) -> Facts:
        """Of the `count` instruments that have a place, by their place, at these sessions."""
        return Facts(
            at_dates(sessions, self.stored.among(place), count),
            *(in_ranges(sessions, each.among(place), count) for each in (self.empty, self.deferred, self.dead)),
        )


def known(connection: Connection, table: str, symbols: Sequence[str], span: Span, has: Dates | None = None) -> Known:
    """All that is known of `symbols` in `table` within `span`; `has` are the dates of its rows, if they were read."""
    return Known(
        stored(connection, table, symbols, span) if has is None else has,
        confirmed_empty.confirmed(connection, table, symbols),
        _covered(deferred(connection, table, symbols), symbols),
        _covered(dead_letters(connection, table, symbols), symbols),
    )


_STORED = """
    SELECT symbol, string_agg(date_send(date), ''::bytea) FROM {table}
    WHERE symbol = ANY (%(symbols)b::text[]) AND date BETWEEN %(first)s AND %(last)s GROUP BY symbol
"""


def stored(connection: Connection, table: str, symbols: Sequence[str], span: Span) -> Dates:
    """The dates of the rows of `table`, packed by the server into one value per instrument."""
    statement = sql.SQL(_STORED).format(table=sql.Identifier(schema.table(table).name))
    with raw_cursor(connection, binary=True) as cursor:
        cursor.execute(statement, {"symbols": list(symbols), "first": span[0], "last": span[1]})
        found: list[tuple[str, bytes]] = cursor.fetchall()
    place = {symbol: number for number, symbol in enumerate(symbols)}
    rows = np.repeat([place[symbol] for symbol, _ in found], [len(dates) // 4 for _, dates in found]).astype(np.intp)
    return Dates(rows, EPOCH + np.frombuffer(b"".join(dates for _, dates in found), ">i4").astype("timedelta64[D]"))


type WaitingWork = tuple[str, str, Mapping[str, Any]]
"""WaitingWork that waits: its partition key, its symbol (empty: the whole task), and what it was called with."""


def dead_letters(connection: Connection, table: str, symbols: Sequence[str]) -> Iterable[WaitingWork]:
    """The work on `symbols` that failed and waits."""
    rows = schema.task_failures.c
    return _work(connection, rows, rows.status.in_(LIVE), table, symbols)


def deferred(
    connection: Connection, table: str, symbols: Sequence[str], *, until: datetime | None = None
) -> Iterable[WaitingWork]:
    """The work on `symbols` that is deferred, all of it or what is deferred to `until` at most."""
    rows = schema.deferred_work.c
    return _work(connection, rows, sa.true() if until is None else rows.until <= until, table, symbols)


def _work(
    connection: Connection, rows: Any, among: sa.ColumnElement[bool], table: str, symbols: Sequence[str]
) -> Iterable[WaitingWork]:
    query = sa.select(rows.partition_key, rows.symbol, rows.kwargs).where(
        rows.task_name == table, among, sa.or_(rows.symbol == "", rows.symbol == any_of(symbols))
    )
    return [(key, symbol, kwargs) for key, symbol, kwargs in connection.execute(query)]


def _covered(work: Iterable[WaitingWork], symbols: Sequence[str]) -> Ranges:
    """The days that pieces of work stand for: whole months of one instrument, of those named, or of all."""
    place = {symbol: number for number, symbol in enumerate(symbols)}
    found = []
    for symbol, first, last in pieces(work, symbols):
        start, end = whole_months(first, last)
        found.append((place[symbol], start, end + timedelta(days=1)))
    return Ranges.of(found)


def pieces(work: Iterable[WaitingWork], symbols: Sequence[str]) -> Iterator[tuple[str, date, date]]:
    """The instruments among `symbols` that each piece of work is about, and its first and last partition."""
    known = frozenset(symbols)
    for key, symbol, kwargs in work:
        span = months_of(key)
        if span is not None:
            named = [symbol] if symbol else symbols_of(kwargs)
            for each in symbols if named is None else [name for name in named if name in known]:
                yield each, *span


def months_of(partition_key: str) -> Span | None:
    """The first and last month of a partition or of a range `first...last`; None for what is neither."""
    first, last = ends_of(partition_key)
    try:
        return date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return None


def symbols_of(kwargs: Mapping[str, Any]) -> list[str] | None:
    """The instruments a task was limited to, whether recorded as its own arguments or as its run config."""
    config = kwargs.get("config")
    named = kwargs.get("symbols")
    if named is None and isinstance(config, Mapping):
        named = config.get("symbols")
    return named if isinstance(named, list) else None
