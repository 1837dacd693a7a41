"""Minutes that add up to the sample market's days: same symbol and day, same minutes, in any process.

Belongs here: inventing the minutes of one session, adding them up to longer bars, and what of them can be seen while
one is running. Does not belong here: which sessions there are, recordings, or any vendor's labels.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.sandbox.market.continuation import random_stream
from financehub_dagster.sandbox.market.history import origin_of
from financehub_dagster.sandbox.market.recordings import Floats, Prices

MINUTE = 60
#: How far a minute's high and low reach beyond its open and close, as a share of the day's range.
_REACH = 0.02
#: Three stocks in five trade in every minute, the others not in up to this share of their minutes.
_BUSY = 0.6
_QUIETEST = 0.15
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Bars(Prices):
    """Bars in time order: open_time in UTC epoch seconds; recorded says whether a bar was recorded or generated."""

    open_time: NDArray[np.int64]
    recorded: NDArray[np.bool_]

    @classmethod
    def none(cls) -> Self:
        """No bars."""
        empty: Floats = np.empty(0)
        return cls(empty, empty, empty, empty, empty, np.empty(0, np.int64), np.empty(0, np.bool_))

    def with_more(self, more: Self) -> Self:
        """These and `more`, in order of time."""
        both = type(self).joined([self, more])
        return both[np.argsort(both.open_time, kind="stable")]

    @property
    def origin(self) -> str:
        """recorded, generated, mixed, or none where there are no bars."""
        return origin_of(self.recorded)


@dataclass(frozen=True, slots=True)
class Day:
    """One session: its edges and breaks in UTC epoch seconds, its daily bar, and the decimals of its numbers.

    dense: is there a bar for each minute, whether or not anything was traded?
    """

    symbol: str
    opens: int
    closes: int
    breaks: tuple[tuple[int, int], ...]
    open: float
    high: float
    low: float
    close: float
    volume: float
    decimals: int
    volume_decimals: int
    dense: bool


@lru_cache(maxsize=512)
def minutes_of(day: Day) -> Bars:
    """The minutes of a finished session: from its open to its close, within its range, touching both ends of it.

    Volumes add up to the day's. A day whose own numbers are impossible has no minutes.
    """
    times: NDArray[np.int64] = np.arange(day.opens, day.closes, MINUTE)
    for begins, ends in day.breaks:
        times = times[(times < begins) | (times >= ends)]
    if not len(times) or not 0 < day.low <= min(day.open, day.close) <= max(day.open, day.close) <= day.high < np.inf:
        return Bars.none()
    stream = random_stream(day.symbol, f"minutes of {day.opens}")
    path = _path(day, stream, len(times))
    opens, closes = path[:-1], path[1:]
    reach = np.abs(stream.standard_normal((2, len(times)))) * (day.high - day.low) * _REACH
    high = np.minimum(np.round(np.maximum(opens, closes) + reach[0], day.decimals), day.high)
    low = np.maximum(np.round(np.minimum(opens, closes) - reach[1], day.decimals), day.low)
    high, low = np.maximum.reduce([high, opens, closes]), np.minimum.reduce([low, opens, closes])
    needed = np.unique([0, len(times) - 1, int(np.argmax(high)), int(np.argmin(low))])
    high[needed[np.argmax(high[needed])]], low[needed[np.argmin(low[needed])]] = day.high, day.low
    volume = _volumes(day, stream, len(times), needed)
    kept = np.ones(len(times), np.bool_) if day.dense else volume > 0
    kept[needed] = True
    bars = Bars(opens.copy(), high, low, closes.copy(), volume, times, np.zeros(len(times), np.bool_))
    return bars[kept]


def _path(day: Day, stream: np.random.Generator, n: int) -> Floats:
    """N + 1 prices from open to close: a random bridge, stretched so that it touches high and low."""
    share = np.arange(n + 1) / n
    walk = np.concatenate(([0.0], np.cumsum(stream.standard_normal(n))))
    bridge = walk - share * walk[-1]
    straight = day.open + (day.close - day.open) * share
    up, down = np.maximum(bridge, 0), np.maximum(-bridge, 0)
    above = up / up.max() if up.max() > 0 else up
    below = down / down.max() if down.max() > 0 else down
    path = straight + above * (day.high - straight) - below * (straight - day.low)
    path = np.clip(np.round(path, day.decimals), day.low, day.high)
    path[0], path[-1] = day.open, day.close
    return np.asarray(path)


def _volumes(day: Day, stream: np.random.Generator, n: int, needed: NDArray[np.intp]) -> Floats:
    """Most at the open and the close, nothing in the minutes in which nobody trades, in all the day's volume."""
    place = np.linspace(-1, 1, n)
    weights = (0.4 + place**4) * (0.5 + stream.random(n))
    quiet = float(random_stream(day.symbol, "quiet").random())
    idle = 0.0 if day.dense or quiet < _BUSY else _QUIETEST * (quiet - _BUSY) / (1 - _BUSY)
    weights[stream.random(n) < idle] = 0
    weights[needed] = np.maximum(weights[needed], 0.4)
    unit = 10.0**day.volume_decimals
    edges = np.round(np.cumsum(weights) / weights.sum() * day.volume * unit)
    return np.diff(edges, prepend=0.0) / unit


def until(bars: Bars, now: float, decimals: int) -> Bars:
    """What can be seen at `now` of minutes: those that have begun, the running one part of the way."""
    seen = bars[: int(np.searchsorted(bars.open_time, now, side="right"))]
    if not len(seen) or seen.open_time[-1] + MINUTE <= now:
        return seen
    elapsed = (now - float(seen.open_time[-1])) / MINUTE
    first = float(seen.open[-1])
    grown = {name: getattr(seen, name).copy() for name in (*_PRICES, "volume")}
    for name in ("high", "low", "close"):
        grown[name][-1] = round(first + (float(grown[name][-1]) - first) * elapsed, decimals)
    grown["high"][-1] = max(first, *(float(grown[name][-1]) for name in ("high", "close")))
    grown["low"][-1] = min(first, *(float(grown[name][-1]) for name in ("low", "close")))
    grown["volume"][-1] = float(np.floor(grown["volume"][-1] * elapsed))
    return replace(seen, **grown)


def added_up(bars: Bars, seconds: int, origin: int) -> Bars:
    """Bars of `seconds`, which begin at `origin` and whole multiples from there."""
    if not len(bars) or seconds == MINUTE:
        return bars
    starts = bars.open_time - (bars.open_time - origin) % seconds
    first = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
    last = np.append(first[1:], len(bars)) - 1
    return Bars(
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
        starts[first],
        np.logical_and.reduceat(bars.recorded, first),
    )
