"""The ledger: of every instrument, which sessions were settled, and what became of those that are not stored.

Belongs here: keeping `coverage` true, a few rows at a time or all of them, by one and the same computation. Does not
belong here: the facts (`facts`), the arithmetic (`market.coverage`), SQL on its rows (`rows`), and what is done about
gaps (`backfill_planner`). Imports numpy and calendars: import it inside functions.

Whoever changes a fact settles the instruments concerned as the last act of its transaction: rows of the table, its live
dead letters, deferred work, the vendors' empty answers, the universe. Settlers hold the ledger's lock on their
instruments from before they read to the end of their transactions, so that the last one has seen what all others did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import batched

import numpy as np

from financehub_dagster.market import calendars, coverage, derived
from financehub_dagster.market.calendars import Market, market_of, numbers_by_market
from financehub_dagster.market.coverage import Dates, Days, Flags, Rows, States
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.coverage import confirmed_empty, facts, rows
from financehub_dagster.storage.coverage.confirmed_empty import EmptySessions, SessionsResponse
from financehub_dagster.storage.coverage.facts import Known, Span
from financehub_dagster.storage.coverage.rows import Key, Row
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries.history import stored_spans
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables import BARS_OF, LEDGER_TABLES, expected_from, period_of

__all__ = ["SessionsResponse", "answered", "hold", "rebuild", "refresh", "settle"]

BATCH = 500
"""Instruments settled at a time: 2.5 million states for twenty years, 2.5 MB each time they are looked at."""
_DAY = timedelta(days=1)
_EARLIEST = date(1990, 1, 1)
"""Empty answers are kept from here on, even while FINANCEHUB_HISTORY_START is later."""


def hold(connection: Connection, symbols: Sequence[str] | None) -> None:
    """Lock the ledger for these instruments (None: all), before the first of several settlings of one transaction."""
    few = symbols is not None and len(symbols) <= BATCH
    locks.lock_table(connection, schema.coverage, symbols if few else None)


def settle(
    connection: Connection,
    table: str,
    symbols: Sequence[str] | None,
    first_month: date,
    last_month: date,
    now: datetime,
) -> int:
    """Settle these months of `symbols` (None: all active) anew; returns how many rows were wrong.

    Any day of a month stands for it; months outside the history are passed over. Settling a table of bars settles those
    computed from it too, since every bar expects its row there; other tables have no rows to settle.
    One of `symbols` that is not active, or gone, loses its rows; instruments that left lose theirs at the next refresh.
    """
    if table not in LEDGER_TABLES:
        return 0
    hold(connection, symbols)
    span = facts.whole_months(first_month, last_month)
    changed = 0
    for bars, kinds in rows.BARS.items():
        if table in (bars, *expected_from(bars)):
            active = list_instruments(connection, kinds, symbols, all_known=False)
            for batch in batched(active, BATCH):
                changed += _settle(connection, bars, batch, span, now, only=None if table == bars else table)
    return changed + rows.forget_gone(connection, symbols)


def answered(connection: Connection, table: str, answers: Sequence[SessionsResponse], now: datetime) -> None:
    """Settle a table of bars after a vendor's answers, and write down which sessions they had nothing for.

    Call it after the answers' rows are written and the dead letters they resolve are closed.
    """
    named = [answer.symbol for answer in answers]
    hold(connection, named)
    active = {each.symbol: each for each in list_instruments(connection, BARS_OF[table], named, all_known=False)}
    if not active:
        return
    own = [answer for answer in answers if answer.symbol in active]
    first, today = facts.history(now)
    ever = facts.finished_by_calendar(active.values(), min(first, _EARLIEST), now)
    sessions = {symbol: ever[market_of(each)] for symbol, each in active.items()}
    known = confirmed_empty.read(connection, table, sessions)
    days = [day for answer in own for day in (answer.start, answer.end)] + _reopened(connection, table, known)
    span = max(min(days), first), min(max(days), today)
    stored = facts.stored(connection, table, list(active), span)
    has = _flags(list(active.values()), ever, stored)
    missing = [_missing(answer, active[answer.symbol], sessions, has, span) for answer in own]
    lacking = [answer.symbol for answer, left_out in zip(own, missing, strict=True) if left_out.size]
    spans = stored_spans(connection, table, lacking) if lacking else {}
    for answer, left_out in zip(own, missing, strict=True):
        if left_out.size:
            first_stored = spans[answer.symbol][0] if answer.symbol in spans else None
            known[answer.symbol].record(answer, left_out, first_stored, now)
    for symbol, each in known.items():
        each.forget(has[symbol])
    confirmed_empty.save(connection, table, known)
    for batch in batched(active.values(), BATCH):
        _settle(connection, table, batch, span, now, stored=stored if len(batch) == len(active) else None)


def _reopened(connection: Connection, table: str, known: Mapping[str, EmptySessions]) -> list[date]:
    """Take back what was confirmed as before the listing, where an earlier bar has come since: the days concerned."""
    unlisted = [symbol for symbol, each in known.items() if any(key.by_listing for key in each.asked)]
    spans = stored_spans(connection, table, unlisted) if unlisted else {}
    found: list[date] = []
    for symbol, (first_stored, _) in spans.items():
        days = known[symbol].reopen(first_stored)
        found += days[[0, -1]].tolist() if days.size else []
    return found


def _flags(instruments: Sequence[Instrument], sessions: Mapping[Market, Days], stored: Dates) -> dict[str, Flags]:
    """Which of its sessions are stored of each instrument; the rows of `stored` number them."""
    found: dict[str, Flags] = {}
    for calendar, numbers in numbers_by_market(instruments).items():
        flags = coverage.at_dates(sessions[calendar], stored.among(_places(len(instruments), numbers)), len(numbers))
        found |= {instruments[number].symbol: own for number, own in zip(numbers, flags, strict=True)}
    return found


def _places(count: int, numbers: Sequence[int]) -> Rows:
    """Where each of `count` instruments stands among those with these numbers; -1: nowhere."""
    place: Rows = np.full(count, -1)
    place[numbers] = np.arange(len(numbers))
    return place


def _missing(
    answer: SessionsResponse, instrument: Instrument, sessions: Mapping[str, Days], has: Mapping[str, Flags], span: Span
) -> Days:
    """The sessions of the answer's window that had finished when it was asked for, and are not stored."""
    every = sessions[answer.symbol]
    start, end = np.datetime64(max(answer.start, span[0]), "D"), np.datetime64(min(answer.end, span[1]), "D")
    window = slice(np.searchsorted(every, start), np.searchsorted(every, end, side="right"))
    missing = every[window][~has[answer.symbol][window]]
    return missing[calendars.finished(instrument, missing, answer.asked_at)]


def refresh(now: datetime) -> int:
    """Settle newly finished sessions and new instruments, and drop the rows of instruments that left.

    Settles anew what was settled by another calendar or start of the history. Returns how many rows changed. Two reads
    when there is nothing to do; each batch of instruments is a transaction of its own.
    """
    first, _ = facts.history(now)
    with transaction() as connection:
        groups = rows.settled_alike(connection)
        gone = rows.any_gone(connection)
    changed = in_transaction(_forget_all_gone) if gone else 0
    sessions: dict[Market, Days] = {}
    for group in groups:
        name, kind = group.symbols[0], AssetType(group.asset_type)
        one = Instrument(name, name, kind, group.exchange, delisted_on=group.delisted_on)
        calendar = market_of(one)
        if calendar not in sessions:
            sessions[calendar] = facts.finished(one, first, now)
        row = None if group.first is None else Row(group.first, group.through, group.calendar_digest, ())
        settled = _settled(row, first, sessions[calendar]) if group.alike else None
        if settled == sessions[calendar].size:
            continue
        start = group.through + _DAY if settled else first
        for symbols in batched(group.symbols, BATCH):
            changed += in_transaction(partial(_settle_named, group.bars, symbols, start, now))
    return changed


def rebuild(now: datetime) -> int:
    """Compute the whole ledger from the facts; returns how many rows were wrong, missing or too many.

    Each batch of instruments is a transaction of its own.
    """
    first, _ = facts.history(now)
    changed = in_transaction(_forget_all_gone)
    for bars, kinds in rows.BARS.items():
        with transaction() as connection:
            symbols = [each.symbol for each in list_instruments(connection, asset_types=kinds)]
        for batch in batched(symbols, BATCH):
            changed += in_transaction(partial(_settle_named, bars, batch, first, now, anew=True))
    return changed


def _forget_all_gone(connection: Connection) -> int:
    hold(connection, None)
    return rows.forget_gone(connection, None)


def _settle_named(
    bars: str, symbols: Sequence[str], start: date, now: datetime, connection: Connection, *, anew: bool = False
) -> int:
    """Settle these instruments from `start` to now."""
    hold(connection, symbols)
    active = list_instruments(connection, BARS_OF[bars], symbols, all_known=False)
    return _settle(connection, bars, active, (start, now.date()), now, anew=anew)


def _settled(row: Row | None, first: date, sessions: Days) -> int | None:
    """How many of the finished sessions a row has settled; None where they were others than these."""
    if row is None:
        return None if sessions.size else 0
    count = int(np.searchsorted(sessions, np.datetime64(row.through, "D"), side="right"))
    if row.first != first or not count or sessions[count - 1] != np.datetime64(row.through, "D"):
        return None
    return count if coverage.digest(sessions[:count]) == row.calendar_digest else None


@dataclass(frozen=True)
class _Batch:
    """Instruments that a table of bars takes, their finished sessions by calendar, and the rows there are of them.

    settled counts the sessions that the rows of each have settled; 0 where there is nothing to go by.
    """

    bars: str
    instruments: Sequence[Instrument]
    first: date
    sessions: Mapping[Market, Days]
    found: Mapping[Key, Row]
    settled: Sequence[int]

    @property
    def tables(self) -> tuple[str, ...]:
        """The table of bars and those with rows expected for its bars."""
        return (self.bars, *expected_from(self.bars))

    @property
    def symbols(self) -> list[str]:
        return [instrument.symbol for instrument in self.instruments]

    def row(self, table: str, number: int) -> Row | None:
        """The row to go by of instrument `number`."""
        return self.found.get((table, self.instruments[number].symbol)) if self.settled[number] else None

    def by_calendar(self) -> Iterator[tuple[Days, list[int]]]:
        """Finished sessions, and the numbers of the instruments that have them."""
        return ((self.sessions[calendar], numbers) for calendar, numbers in numbers_by_market(self.instruments).items())

    def with_tail(self, span: Span) -> Span:
        """`span`, beginning early enough that no session before it is left unsettled."""
        behind = [row.through for number in range(len(self.settled)) if (row := self.row(self.bars, number))]
        start = min((through for through in behind if through < span[1]), default=span[1])
        return min(span[0], start + _DAY), span[1]


def _settle(
    connection: Connection,
    bars: str,
    instruments: Sequence[Instrument],
    span: Span,
    now: datetime,
    *,
    only: str | None = None,
    stored: Dates | None = None,
    anew: bool = False,
) -> int:
    """Settle `span` of these instruments, all active and taken by `bars`, there and in what is computed from it.

    All of the history is settled of instruments without rows to go by, and with `anew`. `stored` are the dates of the
    rows of `bars` within `span`, by the number of the instrument. only: the computed table that may have changed; the
    rows of the others are right.
    """
    if not instruments:
        return 0
    first, today = facts.history(now)
    sessions = facts.finished_by_calendar(instruments, first, now)
    tables = (bars, *expected_from(bars))
    found = rows.read(connection, tables, [instrument.symbol for instrument in instruments])
    settled = [None if anew else _settled_by(found, bars, each, first, sessions) for each in instruments]
    changed = 0
    for whole in (False, True):
        numbers = [number for number, count in enumerate(settled) if (count is None) == whole]
        if not numbers:
            continue
        has = None if stored is None or whole else stored.among(_places(len(instruments), numbers))
        chosen = [instruments[number] for number in numbers]
        batch = _Batch(bars, chosen, first, sessions, found, [settled[number] or 0 for number in numbers])
        if whole:
            changed += _settle_alike(connection, batch, (first, today), now, only=None, stored=None)
        else:
            changed += _settle_alike(connection, batch, span, now, only=only, stored=has)
    return changed


def _settled_by(
    found: Mapping[Key, Row], bars: str, instrument: Instrument, first: date, sessions: Mapping[Market, Days]
) -> int | None:
    """How many of its sessions the rows of an instrument have settled; None where they are not to go by."""
    row = found.get((bars, instrument.symbol))
    others = [found.get((table, instrument.symbol)) for table in expected_from(bars)]
    if row is None and any(other is not None for other in others):
        return None
    if row is not None and not all(row.is_alike(other) for other in others):
        return None
    return _settled(row, first, sessions[market_of(instrument)])


def _settle_alike(
    connection: Connection, batch: _Batch, span: Span, now: datetime, *, only: str | None, stored: Dates | None
) -> int:
    """Settle `span`, and what lies between it and what was settled, of instruments that all have rows or none."""
    symbols = batch.symbols
    wide = batch.with_tail(span) if only is None else span
    if wide != span:
        stored = None
    known: dict[str, Known] = {}
    for table in batch.tables if only is None else (only,):
        has = stored if table == batch.bars else None
        known[table] = facts.known(connection, table, symbols, _reached(table, wide), has)
    wanted: dict[Key, Row] = {}
    for sessions, numbers in batch.by_calendar():
        wanted |= _rows(batch, sessions, numbers, wide, known)
    mine = set(symbols)
    found = {key: row for key, row in batch.found.items() if key[1] in mine}
    return rows.replace(connection, found, wanted, now)


def _reached(table: str, span: Span) -> Span:
    """The dates of the rows of `table` that the sessions of `span` belong to."""
    return derived.period_start(period_of(table), span[0]), span[1]


def _rows(
    batch: _Batch, sessions: Days, numbers: Sequence[int], span: Span, known: Mapping[str, Known]
) -> dict[Key, Row]:
    """The rows of those instruments of a batch, by number, that have these finished sessions."""
    place, count = _places(len(batch.instruments), numbers), len(numbers)
    start, stop = np.searchsorted(sessions, np.array([span[0], span[1] + _DAY], "datetime64[D]")).tolist()
    settled = np.array([batch.settled[number] for number in numbers])
    until = np.maximum(settled, stop) if batch.bars in known else settled
    states: dict[str, tuple[Days, States]] = {}
    of_bars = np.zeros((count, 0), np.bool_)
    for table in batch.tables:
        axis, window = sessions, slice(start, stop)
        if table == batch.bars:
            expected = np.arange(sessions.size) < settled[:, np.newaxis]
            wanted = np.ones((count, stop - start), bool)
        else:
            axis, window = _axis(table, sessions, window)
            expected = derived.expected_rows(period_of(table), sessions, of_bars)
            wanted = expected[:, window]
        before = rows.ranges_by_state([batch.row(table, number) for number in numbers])
        found = coverage.decode(axis, expected, before)
        if table in known and start < stop:
            found[:, window] = coverage.settle(wanted, known[table].facts(axis[window], place, count))
        states[table] = axis, found
        of_bars = found == coverage.STORED if table == batch.bars else of_bars
    return _encoded(batch, sessions, numbers, until, states)


def _axis(table: str, sessions: Days, window: slice) -> tuple[Days, slice]:
    """The dates of the rows of a computed table, and which of them the sessions in `window` belong to."""
    period = period_of(table)
    axis = derived.axis_of(period, sessions)
    if axis is sessions or window.start >= window.stop:
        return axis, window
    ends = derived.period_starts(period, sessions[[window.start, window.stop - 1]])
    return axis, slice(int(np.searchsorted(axis, ends[0])), int(np.searchsorted(axis, ends[1], side="right")))


def _encoded(
    batch: _Batch,
    sessions: Days,
    numbers: Sequence[int],
    until: Rows,
    states: Mapping[str, tuple[Days, States]],
) -> dict[Key, Row]:
    """The rows that say these states, each with the sessions that its instrument has settled."""
    digests = {count: coverage.digest(sessions[:count]) for count in set(until.tolist())}
    found: dict[Key, Row] = {}
    for table, (axis, each) in states.items():
        texts = coverage.encode(axis, each)
        for at, number in enumerate(numbers):
            if settled := int(until[at]):
                through = sessions[settled - 1].item()
                ranges = tuple(texts[name][at] for name in coverage.NAMED)
                key = table, batch.instruments[number].symbol
                found[key] = Row(batch.first, through, digests[settled], ranges)
    return found
