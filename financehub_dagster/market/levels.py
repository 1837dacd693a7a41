"""Levels of a trade date: the previous session's high, low and close, and the pivot points made of them.

Belongs here: pure functions on arrays, many instruments at once. Does not belong here: reading bars and writing levels
(storage), which sessions there are (`calendars`).
"""

from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from financehub_dagster.market import calendars
from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.calendar_source import Days
from financehub_dagster.market.derived import DerivedRows
from financehub_dagster.market.instruments import Instrument

type Floats = NDArray[np.float64]


def next_trade_dates(instruments: Sequence[Instrument], first: date, last: date) -> list[Days]:
    """For each instrument the sessions from `first` to some weeks after `last`, as `levels_of_bars` takes them.

    The weeks cover the longest closures known: two for the Lunar New Year and national holidays in East Asia.
    """
    end = last + _LONGEST_CLOSURE
    return calendars.once_a_market(instruments, lambda each: calendars.known(each, first, end).dates)


def newest_sessions(instruments: Sequence[Instrument], now: datetime) -> tuple[Days, Days]:
    """For each instrument, the newest session that had closed at `now` (aware), and the next one up to UTC today.

    NaT where there is none. The second is what a daily close at `now` cannot take yet, because it is still open or has
    not begun.
    """

    def sessions(of: Instrument) -> tuple[np.datetime64, np.datetime64]:
        newest = calendars.last_finished_session(of, now)
        closed = np.datetime64("NaT" if newest is None else newest, "D")
        today = calendars.known(of, now.date() if newest is None else newest, now.date()).dates
        later = today[today > closed] if newest is not None else today
        return closed, later[0] if later.size else np.datetime64("NaT", "D")

    found = np.array(calendars.once_a_market(instruments, sessions), "datetime64[D]").reshape(-1, 2)
    return found[:, 0], found[:, 1]


def pivot_points(high: ArrayLike, low: ArrayLike, close: ArrayLike) -> dict[str, Floats]:
    """pp, r1, s1, r2, s2 of a session's high, low and close: the floor traders' pivots, for the session after it.

    Formulas: J. L. Person, A Complete Guide to Technical Trading Tactics (2004).
    """
    highs, lows, closes = (np.asarray(each, np.float64) for each in (high, low, close))
    pivot = (highs + lows + closes) / 3
    reach = highs - lows
    return {
        "pp": pivot,
        "r1": 2 * pivot - lows,
        "s1": 2 * pivot - highs,
        "r2": pivot + reach,
        "s2": pivot - reach,
    }


def levels_of_bars(bars: BarArrays, _: NDArray[np.bool_], sessions: Sequence[Days]) -> DerivedRows:
    """The levels that daily bars give to the session after each: `session`, and its high, low and close.

    sessions has each instrument's session dates in order, reaching beyond its last bar to the next session
    (`next_trade_dates`). A bar on a day without a session, as vendors fill them in, is passed over, and so is a bar
    whose next session is not known. A trade date has no row where the session just before it has no bar.
    """
    bounds = bars.offsets.tolist()
    if len(bounds) != len(sessions) + 1 or bounds[-1] != bars.date.size:
        raise ValueError(f"{len(sessions)} calendars and {bars.date.size} bars do not fit offsets to {bounds[-1:]}")
    following = np.full(bars.date.size, np.datetime64("NaT", "D"))
    for (start, stop), known in zip(pairwise(bounds), sessions, strict=True):
        following[start:stop] = _next_session(bars.date[start:stop], known)
    found = ~np.isnat(following)
    instruments = np.repeat(np.arange(len(sessions)), np.diff(bounds))
    values = {"session": bars.date, "high": bars.high, "low": bars.low, "close": bars.close}
    return DerivedRows(instruments[found], following[found], {name: column[found] for name, column in values.items()})


def pivots_of_bars(bars: BarArrays, traded: NDArray[np.bool_], sessions: Sequence[Days]) -> DerivedRows:
    """The pivot points that the same bars give."""
    found = levels_of_bars(bars, traded, sessions)
    session, high, low, close = (found.values[name] for name in ("session", "high", "low", "close"))
    return DerivedRows(found.instruments, found.date, {"session": session, **pivot_points(high, low, close)})


_LONGEST_CLOSURE = np.timedelta64(28, "D").item()


def _next_session(days: Days, sessions: Days) -> Days:
    """The session after each day; NaT for a day that is no session, or the last one known."""
    if not sessions.size or not days.size:
        return np.full(days.size, np.datetime64("NaT", "D"))
    at = np.searchsorted(sessions, days)
    known = (at + 1 < sessions.size) & (sessions[at.clip(max=sessions.size - 1)] == days)
    return np.where(known, sessions[(at + 1).clip(max=sessions.size - 1)], np.datetime64("NaT", "D"))
