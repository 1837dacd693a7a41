"""The arithmetic of the ledger: which state every expected session is in, and which ranges of days say so.

Belongs here: pure functions from facts to states, and between states and ranges. Does not belong here: where the facts
are kept (storage). Imports numpy, so it is itself imported only where sessions are counted.

The sessions of a calendar are one sorted array of days; an instrument's states are one row of small codes beside it.
"""

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

type Days = NDArray[np.datetime64]
type Rows = NDArray[np.intp]
type Flags = NDArray[np.bool_]
type States = NDArray[np.int8]

UNEXPECTED, STORED, EMPTY, GAP, DEAD_LETTERED, DEFERRED = range(6)
"""The codes of `States`. UNEXPECTED has not finished, or no row of the table is expected for it."""

OPEN = {"gap": GAP, "dead_lettered": DEAD_LETTERED, "deferred": DEFERRED}
NAMED = {"empty": EMPTY, **OPEN}
"""The states that the ledger writes down, by column: every other session up to `through` is stored."""

_RANGE = re.compile(r"\[(\d{4}-\d\d-\d\d),(\d{4}-\d\d-\d\d)\)")


@dataclass(frozen=True)
class Dates:
    """Days (datetime64[D]), each of one instrument: rows says whose."""

    rows: Rows
    days: Days

    def among(self, place: Rows) -> "Dates":
        """Those of the instruments that have a place, by their place; -1 is none."""
        rows = place[self.rows]
        theirs = rows >= 0
        return Dates(rows[theirs], self.days[theirs])


@dataclass(frozen=True)
class Ranges:
    """Ranges of days, each of one instrument: rows says whose, starts the first day, stops the one after the last."""

    rows: Rows
    starts: Days
    stops: Days

    def among(self, place: Rows) -> "Ranges":
        """Those of the instruments that have a place, by their place; -1 is none."""
        rows = place[self.rows]
        return Ranges(rows[rows >= 0], self.starts[rows >= 0], self.stops[rows >= 0])

    @classmethod
    def of(cls, found: Iterable[tuple[int, date, date]]) -> "Ranges":
        """From (row, first day, day after the last)."""
        rows, starts, stops = list(zip(*found, strict=True)) or [(), (), ()]
        return cls(np.array(rows, np.intp), np.array(starts, "datetime64[D]"), np.array(stops, "datetime64[D]"))

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Ranges":
        """From PostgreSQL's text of one datemultirange for each instrument; unbounded ranges are left out."""
        found = [_RANGE.findall(text) if len(text) > len("{}") else () for text in texts]
        rows = np.repeat(np.arange(len(texts)), [len(each) for each in found])
        bounds = np.array([bound for each in found for days in each for bound in days], "datetime64[D]")
        return cls(rows, bounds[0::2], bounds[1::2])

    def texts(self, count: int) -> list[str]:
        """PostgreSQL's text of one datemultirange for each of `count` instruments; rows are in order."""
        starts, stops = np.datetime_as_string(self.starts).tolist(), np.datetime_as_string(self.stops).tolist()
        each = [f"[{start},{stop})" for start, stop in zip(starts, stops, strict=True)]
        ends = np.searchsorted(self.rows, np.arange(count + 1)).tolist()
        return ["{" + ",".join(each[a:b]) + "}" for a, b in pairwise(ends)]


NO_RANGES = Ranges(np.zeros(0, np.intp), np.zeros(0, "datetime64[D]"), np.zeros(0, "datetime64[D]"))


def digest(sessions: Days) -> int:
    """A checksum of these sessions: rows that were settled by other ones are recognised by it."""
    return zlib.crc32(sessions.astype("datetime64[D]").astype("<i4").tobytes())


def at_dates(sessions: Days, dates: Dates, count: int) -> Flags:
    """Which sessions the dates are, of shape (count, sessions); dates that are no session are passed over."""
    found = np.zeros((count, sessions.size), bool)
    if sessions.size and dates.days.size:
        at = np.searchsorted(sessions, dates.days).clip(max=sessions.size - 1)
        hit = sessions[at] == dates.days
        found[dates.rows[hit], at[hit]] = True
    return found


def in_ranges(sessions: Days, ranges: Ranges, count: int) -> Flags:
    """Which sessions lie in the ranges, of shape (count, sessions)."""
    if not ranges.rows.size:
        return np.zeros((count, sessions.size), bool)
    edges = np.zeros((count, sessions.size + 1), np.int16)
    np.add.at(edges, (ranges.rows, np.searchsorted(sessions, ranges.starts)), 1)
    np.add.at(edges, (ranges.rows, np.searchsorted(sessions, ranges.stops)), -1)
    return np.cumsum(edges, axis=1, dtype=np.int16)[:, :-1] > 0


def ranges_of(sessions: Days, flags: Flags) -> Ranges:
    """Ranges from the first to the day after the last of consecutive sessions, in order of instrument and time."""
    if not flags.any():
        return NO_RANGES
    padded = np.zeros((len(flags), sessions.size + 2), bool)
    padded[:, 1:-1] = flags
    rows, edges = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return Ranges(rows[0::2], sessions[edges[0::2]], sessions[edges[1::2] - 1] + 1)


@dataclass(frozen=True)
class Facts:
    """What is known of instruments and sessions, each of shape (instruments, sessions).

    stored: rows of the table. empty: sessions the vendor confirms to have nothing for. deferred and dead: days covered
    by work that was deferred, or that waits as a dead letter.
    """

    stored: Flags
    empty: Flags
    deferred: Flags
    dead: Flags


def settle(expected: Flags, facts: Facts) -> States:
    """The state of every expected session, by the first that applies.

    It is stored, or confirmed to be empty, or deferred, or failed; else it is a gap.
    """
    states = np.where(facts.dead, np.int8(DEAD_LETTERED), np.int8(GAP))
    for fact, code in ((facts.deferred, DEFERRED), (facts.empty, EMPTY), (facts.stored, STORED)):
        states[fact] = code
    states[~expected] = UNEXPECTED
    return states


def decode(sessions: Days, expected: Flags, ranges: Mapping[str, Ranges]) -> States:
    """The states that a row's ranges say, given which sessions it expects."""
    states = expected.astype(np.int8)
    for name, code in NAMED.items():
        if ranges[name].rows.size:
            states[expected & in_ranges(sessions, ranges[name], len(expected))] = code
    return states


def encode(sessions: Days, states: States) -> dict[str, list[str]]:
    """By column of the ledger, the text of each instrument's ranges."""
    return {name: ranges_of(sessions, states == code).texts(len(states)) for name, code in NAMED.items()}


def month_starts(first: date, last: date) -> Days:
    """The first days (datetime64[D]) of the months from that of `first` to that of `last`."""
    return np.arange(np.datetime64(first, "M"), np.datetime64(last, "M") + 1).astype("datetime64[D]")


def by_month(sessions: Days, flags: Flags, months: Days) -> NDArray[np.uint8]:
    """How many of the flagged sessions lie in each of consecutive months, of shape (instruments, months)."""
    bounds = np.searchsorted(sessions, months)
    some = np.diff(bounds, append=sessions.size) > 0
    counts = np.zeros((len(flags), months.size), np.uint8)
    if some.any():
        counts[:, some] = np.add.reduceat(flags.view(np.uint8), bounds[some], axis=1, dtype=np.uint8)
    return counts
