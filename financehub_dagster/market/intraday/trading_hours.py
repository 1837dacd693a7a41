"""Trading hours to the minute: when a market trades, which minutes it has, and how many are due.

Belongs here: arithmetic on the minutes of a market. Does not belong here: sessions by day (`calendars`), building bars
(`resampling`), which minutes are stored (storage). Imports exchange_calendars and pandas by way of `calendars`.

A market trades in intervals: one per session, two where it breaks for lunch, with holidays, half days and special
closures as its calendar has them; currencies from Sunday 17:00 to Friday 17:00 New York, cryptos around the clock.
Auctions after the close, and trading before the open or after hours, are outside of them. Every interval begins and
ends on a whole minute, so that all its minutes can be numbered: most questions are then subtractions.

Instants are datetime64[s] in UTC, alone or as arrays; a minute is named by its opening instant. A session's date is
that of the exchange and may differ from the UTC day of its minutes: Sydney's Monday opens on Sunday at 23:00 UTC in
summer, and Monday's session of currencies begins on Sunday evening.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market import calendars
from financehub_dagster.market.calendar_source import NO_SESSIONS, Calendar, Days, Instants, Sessions
from financehub_dagster.market.instruments import Instrument

type Integers = NDArray[np.int64]
type Flags = NDArray[np.bool_]

MINUTE = np.timedelta64(60, "s")

_SECONDS = 60


@dataclass(frozen=True, slots=True, eq=False)
class TradingHours:
    """The trading intervals of one market in order, and the questions of time they answer.

    starts and stops (datetime64[s], stops excluded) bound each interval, days (datetime64[D]) is the date of its
    session, numbers counts the minutes before each interval and, in one more entry, all minutes. sessions are those of
    the calendar, whose opens and closes ignore lunch breaks.
    """

    days: Days
    starts: Instants
    stops: Instants
    numbers: Integers
    sessions: Sessions

    def between(self, start: np.datetime64, stop: np.datetime64) -> "TradingHours":
        """The intervals that have a moment in [start, stop), whole, with their sessions."""
        first = int(np.searchsorted(self.stops, start, side="right"))
        last = max(first, int(np.searchsorted(self.starts, stop)))
        days = self.days[first:last]
        if not days.size:
            return NO_HOURS
        sessions = self.sessions.between(days[0].item(), days[-1].item())
        return _numbered(days, self.starts[first:last], self.stops[first:last], sessions)

    def finished(self, at: Instants | np.datetime64) -> Integers:
        """How many minutes of the market, of all there ever were, had ended at these instants; 0 for NaT."""
        when = np.asarray(at, "datetime64[s]")
        if not self.starts.size:
            return np.zeros(when.shape, np.int64)
        place = np.searchsorted(self.starts, when, side="right") - 1
        inside = np.minimum(when, self.stops[place]) - self.starts[place]
        count = self.numbers[place] + inside.astype(np.int64) // _SECONDS
        found: Integers = np.where((place < 0) | np.isnat(when), 0, count)
        return found

    def count(self, start: Instants | np.datetime64, stop: Instants | np.datetime64) -> Integers:
        """How many minutes open at or after `start` and end by `stop`; 0 where stop is earlier."""
        found: Integers = np.maximum(self.finished(stop) - self.finished(_next_minute(start)), 0)
        return found

    def minutes(self, start: np.datetime64, stop: np.datetime64) -> Instants:
        """The minutes (datetime64[s]) that open at or after `start` and end by `stop`, in order."""
        return self.opening(np.arange(self.finished(_next_minute(start)), self.finished(stop)))

    def opening(self, numbers: Integers) -> Instants:
        """The opening instants of minutes by number, NaT for numbers that the calendar does not reach."""
        if not self.starts.size:
            return np.full(np.shape(numbers), np.datetime64("NaT", "s"))
        place = np.searchsorted(self.numbers, numbers, side="right") - 1
        known = (place >= 0) & (place < self.starts.size)
        place = np.where(known, place, 0)
        opened = self.starts[place] + (numbers - self.numbers[place]) * MINUTE
        return np.where(known, opened, np.datetime64("NaT", "s"))

    def interval_of(self, at: Instants | np.datetime64) -> NDArray[np.intp]:
        """The index of the interval that each instant lies in, -1 where the market is closed."""
        when = np.asarray(at, "datetime64[s]")
        if not self.starts.size:
            return np.full(when.shape, -1, np.intp)
        place = np.searchsorted(self.starts, when, side="right") - 1
        return np.where((place >= 0) & (when < self.stops[place]), place, -1)

    def is_open(self, at: Instants | np.datetime64) -> Flags:
        """Whether the market trades at these instants: not during its lunch break."""
        found: Flags = self.interval_of(at) >= 0
        return found

    def session_of(self, at: Instants | np.datetime64) -> Days:
        """The date of the session that each instant belongs to, NaT where the market is closed."""
        place = self.interval_of(at)
        if not self.days.size:
            return np.full(place.shape, np.datetime64("NaT", "D"))
        return np.where(place >= 0, self.days[place], np.datetime64("NaT", "D"))

    def last_close(self, at: np.datetime64) -> np.datetime64:
        """When the newest session that had closed at this instant did; NaT where there is none."""
        return self._close(int(np.searchsorted(self.sessions.closes, at, side="right")) - 1)

    def next_close(self, at: np.datetime64) -> np.datetime64:
        """The first close of a session after this instant, of a running or a later one; NaT where none is known."""
        return self._close(int(np.searchsorted(self.sessions.closes, at, side="right")))

    def _close(self, place: int) -> np.datetime64:
        closes = self.sessions.closes
        return closes[place] if 0 <= place < closes.size else np.datetime64("NaT", "s")


def trading_hours(of: Instrument | str, last: date | None = None, *, assume: bool = False) -> TradingHours:
    """The trading hours of an instrument or MIC since 1990, to the end of the year of `last` at least (default: now's).

    The same object at each call, until a correction changes. Of an unknown exchange there are none, so that one
    instrument never stops the others; `calendars.problems` reports it. assume: beyond the end of a calendar, take every
    weekday for a session with the regular hours. Leave it False where a minute must not be expected in vain.
    """
    calendar = calendars.whole(of, last or date(_FIRST_YEAR, 1, 1))
    return NO_HOURS if calendar is None else _hours(calendar, assume)


def by_market(
    instruments: Sequence[Instrument], last: date | None = None, *, assume: bool = False
) -> list[tuple[TradingHours, NDArray[np.intp]]]:
    """The trading hours of each market of `instruments`, with the positions of its instruments among them."""
    return [
        (trading_hours(instruments[numbers[0]], last, assume=assume), np.array(numbers, np.intp))
        for numbers in calendars.numbers_by_market(instruments).values()
    ]


_FIRST_YEAR = 1990


def _next_minute(at: Instants | np.datetime64) -> Instants:
    """Rounded up to a whole minute."""
    seconds = np.asarray(at, "datetime64[s]")
    whole: Instants = np.where(
        np.isnat(seconds), seconds, (-(-seconds.astype(np.int64) // _SECONDS) * _SECONDS).astype("datetime64[s]")
    )
    return whole


def _numbered(days: Days, starts: Instants, stops: Instants, sessions: Sessions) -> TradingHours:
    lengths = (stops - starts).astype(np.int64) // _SECONDS
    return TradingHours(days, starts, stops, np.append(0, np.cumsum(lengths)), sessions)


NO_HOURS = _numbered(NO_SESSIONS.dates, NO_SESSIONS.opens, NO_SESSIONS.closes, NO_SESSIONS)
"""A market that never trades."""


@cache
def _hours(calendar: Calendar, assume: bool) -> TradingHours:
    sessions = calendar.sessions
    if not assume and calendar.known_to != date.max:
        sessions = sessions.between(date.min, calendar.known_to)
    paused = ~np.isnat(sessions.break_starts)
    starts = np.concatenate([sessions.opens, sessions.break_ends[paused]])
    stops = np.concatenate([np.where(paused, sessions.break_starts, sessions.closes), sessions.closes[paused]])
    days = np.concatenate([sessions.dates, sessions.dates[paused]])
    order = np.argsort(starts, kind="stable")
    return _numbered(days[order], starts[order], stops[order], sessions)
