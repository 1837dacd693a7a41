"""Sessions a vendor was asked for and had nothing: asked again with growing intervals, then confirmed.

Belongs here: writing such answers down and taking them back. Does not belong here: when a gap is asked for again
(`backfill_planner`), and the ledger's rows. Imports numpy: import it inside functions.

A row of `empty_answers` holds the sessions of an instrument that were asked for at the same times, as ranges from the
first to the day after the last of consecutive sessions; the sessions of an instrument's rows do not overlap. Whoever
changes them holds the ledger's lock on the instrument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE

from financehub_dagster.market.coverage import Days, Flags, Ranges, in_ranges, ranges_of
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of, side_by_side
from financehub_dagster.storage.database.engine import Connection

INTERVALS = (
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(days=1),
    timedelta(days=3),
    timedelta(days=7),
)
"""How long after the first, second … empty answer the vendor is asked again; the answer after the last confirms."""


@dataclass(frozen=True)
class SessionsResponse:
    """What a vendor answered when asked for the sessions from `start` to `end`, both included.

    first_bar is the first session of which it says that there is something: where it does not say, the earliest bar it
    sent, None when it sent none. rejected are the sessions whose bar broke a rule. Those
    that had not finished at asked_at were not asked for.
    """

    symbol: str
    provider: str
    start: date
    end: date
    asked_at: datetime
    first_bar: date | None
    rejected: Sequence[date] = ()


@dataclass(frozen=True)
class EmptyResponses:
    """When a vendor was asked for sessions it had nothing for; next_ask_at is None once that is confirmed."""

    provider: str
    asked: int
    last_asked_at: datetime
    next_ask_at: datetime | None

    @property
    def by_listing(self) -> bool:
        """Whether it was confirmed because it lies before the listing, and not by repeated answers."""
        return self.next_ask_at is None and self.asked <= len(INTERVALS)


@dataclass
class EmptySessions:
    """What is known of one instrument: which of its `sessions`, all up to now, were asked for in vain, and when."""

    sessions: Days
    asked: dict[EmptyResponses, Flags]
    before: dict[EmptyResponses, Flags] = field(init=False)

    def __post_init__(self) -> None:
        """Keep what there was, to tell whether anything has changed."""
        self.before = dict(self.asked)

    def changed(self) -> bool:
        """Whether there is anything to be saved."""
        return self.asked.keys() != self.before.keys() or any(
            not np.array_equal(flags, self.before[key]) for key, flags in self.asked.items()
        )

    def reopen(self, first_stored: date) -> Days:
        """Take back what was confirmed as before the listing, though an earlier bar is stored; returns these days."""
        later = self.sessions > np.datetime64(first_stored, "D")
        back = np.zeros(self.sessions.size, bool)
        for key in [key for key in self.asked if key.by_listing]:
            back |= self.asked[key] & later
            self._put(key, self.asked[key] & ~later)
        taken_back: Days = self.sessions[back]
        return taken_back

    def forget(self, come: Flags) -> None:
        """Drop what is known of these sessions: their rows have come."""
        for key in list(self.asked):
            self._put(key, self.asked[key] & ~come)

    def record(self, answer: SessionsResponse, missing: Days, first_stored: date | None, now: datetime) -> None:
        """Write down that the answer leaves out the sessions `missing`.

        A session before first_bar is confirmed at once, unless an earlier one is stored: the instrument was not listed
        yet. One that is left out from there on is a gap, however late the bars begin. A rejected bar is no empty answer
        and never confirmed, but asked for again at the same intervals. An answer that comes before it was due counts
        as none.
        """
        left_out = np.isin(self.sessions, missing)
        refused = left_out & np.isin(self.sessions, np.array(answer.rejected, "datetime64[D]"))
        unlisted: Flags = np.zeros(self.sessions.size, bool)
        if answer.first_bar is not None and (first_stored is None or first_stored >= answer.first_bar):
            unlisted = left_out & ~refused & (self.sessions < np.datetime64(answer.first_bar, "D"))
        self._ask(answer.provider, left_out & ~refused & ~unlisted, now)
        self._ask(answer.provider, unlisted, now, at_once=True)
        self._ask(answer.provider, refused, now, confirms=False)

    def _ask(
        self, provider: str, sessions: Flags, now: datetime, *, at_once: bool = False, confirms: bool = True
    ) -> None:
        new = sessions.copy()
        moved: list[tuple[EmptyResponses, Flags]] = []
        for key, flags in list(self.asked.items()):
            again = flags & sessions
            if not again.any():
                continue
            new &= ~again
            if key.next_ask_at is not None and (at_once or key.next_ask_at <= now):
                self._put(key, flags & ~again)
                next_ask_at = None if at_once else _next_ask_at(key.asked, now, confirms=confirms)
                moved.append((EmptyResponses(provider, key.asked + 1, now, next_ask_at), again))
        moved.append((EmptyResponses(provider, 1, now, None if at_once else now + INTERVALS[0]), new))
        for key, flags in moved:
            self._put(key, flags | self.asked[key] if key in self.asked else flags)

    def _put(self, key: EmptyResponses, flags: Flags) -> None:
        if flags.any():
            self.asked[key] = flags
        else:
            self.asked.pop(key, None)


def _next_ask_at(asked: int, now: datetime, *, confirms: bool) -> datetime | None:
    if asked < len(INTERVALS):
        return now + INTERVALS[asked]
    return None if confirms else now + INTERVALS[-1]


def read(connection: Connection, table: str, sessions: Mapping[str, Days]) -> dict[str, EmptySessions]:
    """What is known of each instrument in `table`, given all its sessions up to now."""
    rows = schema.empty_answers.c
    columns = (rows.provider, rows.asked, rows.last_asked_at, rows.next_ask_at)
    query = sa.select(rows.symbol, *columns, sa.cast(rows.sessions, sa.Text)).where(
        rows.table_name == table, rows.symbol == any_of(sessions)
    )
    found: dict[str, dict[EmptyResponses, Flags]] = {symbol: {} for symbol in sessions}
    for symbol, *asked, text in connection.execute(query):
        flags = in_ranges(sessions[symbol], Ranges.parse([text]), 1)[0]
        if flags.any():
            found[symbol][EmptyResponses(*asked)] = flags
    return {symbol: EmptySessions(sessions[symbol], asked) for symbol, asked in found.items()}


def save(connection: Connection, table: str, known: Mapping[str, EmptySessions]) -> None:
    """Replace the rows of those instruments that have changed."""
    changed = {symbol: each for symbol, each in known.items() if each.changed()}
    if not changed:
        return
    rows = schema.empty_answers
    connection.execute(sa.delete(rows).where(rows.c.table_name == table, rows.c.symbol == any_of(changed)))
    new = [
        (symbol, key, ranges_of(each.sessions, flags[np.newaxis]).texts(1)[0])
        for symbol, each in changed.items()
        for key, flags in each.asked.items()
    ]
    if not new:
        return
    values = side_by_side(
        symbol=([symbol for symbol, _, _ in new], sa.Text),
        provider=([key.provider for _, key, _ in new], sa.Text),
        asked=([key.asked for _, key, _ in new], sa.Integer),
        last_asked_at=([key.last_asked_at for _, key, _ in new], schema.Instant),
        next_ask_at=([key.next_ask_at for _, key, _ in new], schema.Instant),
        sessions=([text for _, _, text in new], sa.Text),
    )
    names = ("symbol", "provider", "asked", "last_asked_at", "next_ask_at")
    chosen = sa.select(
        sa.literal(table), *(values.c[name] for name in names), sa.cast(values.c.sessions, DATEMULTIRANGE)
    )
    connection.execute(sa.insert(rows).from_select(["table_name", *names, "sessions"], chosen))


def confirmed(connection: Connection, table: str, symbols: Sequence[str]) -> Ranges:
    """The sessions of `symbols` in `table` that vendors confirm to have nothing for."""
    return _ranges(connection, table, symbols, schema.empty_answers.c.next_ask_at.is_(None))


def waiting(connection: Connection, table: str, symbols: Sequence[str], now: datetime) -> Ranges:
    """The sessions of `symbols` in `table` that are asked for again later than `now`."""
    return _ranges(connection, table, symbols, schema.empty_answers.c.next_ask_at > now)


def _ranges(connection: Connection, table: str, symbols: Sequence[str], among: sa.ColumnElement[bool]) -> Ranges:
    rows = schema.empty_answers.c
    query = sa.select(rows.symbol, sa.cast(sa.func.range_agg(rows.sessions), sa.Text)).where(
        rows.table_name == table, rows.symbol == any_of(symbols), among
    )
    found = {row[0]: row[1] for row in connection.execute(query.group_by(rows.symbol))}
    return Ranges.parse([found.get(symbol, "") for symbol in symbols])
