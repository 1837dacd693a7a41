"""Longer bars from minutes: 5 minutes, 15 minutes, an hour, a session.

Belongs here: pure functions on arrays, many instruments at once. Does not belong here: reading minutes and writing
bars (storage), which hours a market trades (`trading_hours`).

How bars are cut. Each trading interval is cut from its own opening, so that a stock's hours in New York are 09:30,
10:30 … 15:30, and Tokyo's begin anew after lunch at 12:30. Yahoo Finance and TradingView label them so; bars on the
full hour, as Alpaca serves them, would give an exchange that opens at 09:30 a first bar of 30 minutes and mix two
sides of the opening as soon as pre-market trading is stored. Currencies and cryptos open on a full hour of UTC, so
theirs are on the full hour, as every vendor has them. The last bar of an interval ends with it: New York's 15:30 lasts
30 minutes, and a half day's last bar ends at the early close. Bars never span a lunch break, a night or a weekend.

A bar is labelled by its opening instant in UTC. Open and close are the first and last minute's, high and low the
extremes, volume the sum. Minutes outside the trading hours (before the open, after the close, a
vendor's extra bar at the closing instant) are left out. An interval without any minute has no bar: nothing was traded.

A bar is final once its end is not after the instant up to which the instrument's minutes are complete. A clock that has
passed the bar's end is not enough: minutes arrive late and with holes, and a bar made of four of its five minutes would
be stored as if it were true. Only final bars belong in a table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from financehub_dagster.market.calendar_source import Days, Instants
from financehub_dagster.market.intraday.trading_hours import Flags, Integers, TradingHours

type Floats = NDArray[np.float64]
type Rows = NDArray[np.intp]

LENGTHS = (5, 15, 60)
"""Minutes of the longer bars that are stored."""

_SECONDS = 60


@dataclass(frozen=True, slots=True, eq=False)
class IntradayBars:
    """Bars of instruments laid end to end: rows (the instrument's number) ascends, ts (datetime64[s]) within it.

    ts is the opening instant in UTC; prices and volume are float64, all arrays of one length.
    """

    rows: Rows
    ts: Instants
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(cls, rows: ArrayLike, ts: ArrayLike, *ohlcv: ArrayLike) -> "IntradayBars":
        """From open, high, low, close, volume; raises ValueError where lengths differ or the order is another."""
        bars = cls(
            np.asarray(rows, np.intp),
            np.asarray(ts, "datetime64[s]"),
            *(np.ascontiguousarray(values, np.float64) for values in ohlcv),
        )
        sizes = {bars.rows.size, bars.ts.size, *(values.size for values in bars.ohlcv)}
        if len(sizes) > 1:
            raise ValueError(f"the arrays of the bars have lengths {sorted(sizes)}: give arrays of one length")
        same = np.diff(bars.rows)
        wrong = (same < 0) | ((same == 0) & (np.diff(bars.ts) <= np.timedelta64(0, "s")))
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0]) + 1
            raise ValueError(f"bar {place} ({bars.ts[place]}) does not follow the one before: sort by rows, then ts")
        return bars

    @property
    def ohlcv(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """The five columns of values, in that order."""
        return self.open, self.high, self.low, self.close, self.volume

    def where(self, wanted: Flags) -> "IntradayBars":
        """The bars of which `wanted` is true."""
        return IntradayBars(self.rows[wanted], self.ts[wanted], *(values[wanted] for values in self.ohlcv))


@dataclass(frozen=True, slots=True, eq=False)
class DerivedBars:
    """Bars made of minutes: ends (datetime64[s]) is where each ends, minutes how many it is made of.

    days (datetime64[D]) is the date of the session it belongs to; final says which are complete and may be stored.
    """

    bars: IntradayBars
    ends: Instants
    days: Days
    minutes: Integers
    final: Flags


def resample(
    minutes: IntradayBars, hours: Sequence[TradingHours], lengths: Iterable[int], complete_to: Instants
) -> dict[int, DerivedBars]:
    """By length in minutes, the bars that these minutes make, of all instruments.

    minutes: all there are of every bar wanted: begin at `bar_opening` of the first one that changed. hours: those of
    each instrument, the same object for those of one market. complete_to (datetime64[s]): for each instrument, the
    instant up to which every minute is stored or confirmed empty; NaT where none is. Lengths that divide an hour give
    bars that nest. Raises ValueError for a length below 1.
    """
    placed = _place(minutes, hours)
    return {length: _cut(placed, length, complete_to) for length in lengths}


def resample_sessions(minutes: IntradayBars, hours: Sequence[TradingHours], complete_to: Instants) -> DerivedBars:
    """One bar per session and instrument, lunch breaks included; `days` is its date and ts its opening instant.

    Such a bar need not equal the exchange's daily bar, whose close is that of the closing auction.
    """
    placed = _place(minutes, hours)
    opens, closes = np.empty_like(placed.starts), np.empty_like(placed.stops)
    for each, members in placed.markets:
        at = np.searchsorted(each.sessions.dates, placed.days[members])
        opens[members], closes[members] = each.sessions.opens[at], each.sessions.closes[at]
    return _reduce(placed, opens, closes, complete_to)


def bar_opening(hours: TradingHours, at: Instants, length: int) -> Instants:
    """The opening instant of the bar of so many minutes that each instant lies in; NaT where the market is closed."""
    place = hours.interval_of(at)
    found = np.full(place.shape, np.datetime64("NaT", "s"))
    inside = place >= 0
    starts = hours.starts[place[inside]]
    found[inside] = starts + _whole(at[inside] - starts, length)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """Minutes inside the trading hours, with the interval that each lies in; markets names the minutes of each."""

    minutes: IntradayBars
    starts: Instants
    stops: Instants
    days: Days
    markets: list[tuple[TradingHours, Flags]]


def _place(minutes: IntradayBars, hours: Sequence[TradingHours]) -> _Placed:
    if not minutes.ts.size:
        nothing = minutes.ts
        return _Placed(minutes, nothing, nothing, nothing.astype("datetime64[D]"), [])
    first, last = minutes.ts.min(), minutes.ts.max() + np.timedelta64(1, "s")
    every = list(dict.fromkeys(hours))
    numbers = {each: number for number, each in enumerate(every)}
    market = np.array([numbers[each] for each in hours], np.int16)[minutes.rows]
    place = np.full(minutes.ts.size, -1, np.intp)
    parts, offset = [], 0
    for number, each in enumerate(every):
        part = each.between(first, last)
        members = market == number
        found = part.interval_of(minutes.ts[members])
        place[members] = np.where(found >= 0, found + offset, -1)
        parts.append(part)
        offset += part.starts.size
    inside = place >= 0
    chosen, market = place[inside], market[inside]
    starts, stops, days = (
        np.concatenate(columns)[chosen]
        for columns in ([p.starts for p in parts], [p.stops for p in parts], [p.days for p in parts])
    )
    members_of = [(each, market == number) for number, each in enumerate(every)]
    return _Placed(minutes if inside.all() else minutes.where(inside), starts, stops, days, members_of)


def _cut(placed: _Placed, length: int, complete_to: Instants) -> DerivedBars:
    opens = placed.starts + _whole(placed.minutes.ts - placed.starts, length)
    ends = np.minimum(opens + np.timedelta64(length * _SECONDS, "s"), placed.stops)
    return _reduce(placed, opens, ends, complete_to)


def _whole(elapsed: NDArray[np.timedelta64], length: int) -> NDArray[np.timedelta64]:
    """Rounded down to a whole number of bars."""
    if length < 1:
        raise ValueError(f"a bar of {length} minutes: give at least 1")
    step = length * _SECONDS
    seconds = elapsed.astype(np.int64)
    rounded: NDArray[np.timedelta64] = (seconds - seconds % step).astype("timedelta64[s]")
    return rounded


def _reduce(placed: _Placed, opens: Instants, ends: Instants, complete_to: Instants) -> DerivedBars:
    minutes = placed.minutes
    rows = minutes.rows
    begins = np.ones(rows.size, bool)
    begins[1:] = (rows[1:] != rows[:-1]) | (opens[1:] != opens[:-1])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], rows.size)[: first.size] - 1
    if first.size:
        high, low = np.maximum.reduceat(minutes.high, first), np.minimum.reduceat(minutes.low, first)
        volume = np.add.reduceat(minutes.volume, first)
    else:
        high, low, volume = minutes.high, minutes.low, minutes.volume
    bars = IntradayBars(rows[first], opens[first], minutes.open[first], high, low, minutes.close[last], volume)
    until = ends[first]
    complete = np.asarray(complete_to, "datetime64[s]")[bars.rows] if first.size else until
    return DerivedBars(bars, until, placed.days[first], last - first + 1, until <= complete)
