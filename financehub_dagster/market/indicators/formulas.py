"""Formulas of our own: what TA-Lib lacks, built from what it has, and where its ratios are 0 / 0.

Belongs here: functions of many instruments' bars that return one array per output or condition. Does not belong here:
anything TA-Lib computes. No compiled code: importing numba costs more than computing Supertrend for thousands of
instruments.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.plain_imports import without

with without("polars"):  # TA-Lib would import it to take its series: 0.2 s in each process
    import talib

if TYPE_CHECKING:
    from financehub_dagster.market.indicators.engine import Bars

type Floats = NDArray[np.float64]

_TILE = 64
"""Bars walked over at once, of all instruments side by side: as many as stay in the cache."""


def keltner(
    bars: "Bars", high: str, low: str, close: str, *, ema_period: int, atr_period: int, multiplier: float
) -> tuple[Floats, Floats]:
    """Keltner channel: the EMA of close plus and less `multiplier` average true ranges."""
    middle = bars.talib("EMA", close, timeperiod=ema_period)
    reach = multiplier * bars.talib("ATR", high, low, close, timeperiod=atr_period)
    lower = middle - reach
    return np.add(middle, reach, out=reach), lower


def supertrend(bars: "Bars", high: str, low: str, close: str, *, atr_period: int, multiplier: float) -> tuple[Floats]:
    """The Supertrend line, by TradingView's definition (Pine reference, ta.supertrend), from TA-Lib's ATR.

    Around the mid price lie two bands, `multiplier` average true ranges away. Each only tightens, until the previous
    close lies beyond it. The line is the upper band in a falling trend, the lower one in a rising trend; the trend
    starts as falling and turns when close crosses the line.
    """
    ranges = bars.talib("ATR", high, low, close, timeperiod=atr_period)
    line = np.full(bars.rows, np.nan)
    # The first `atr_period` rows have no range yet. The longest history comes first: those that end leave at the right.
    defined = sorted((rows.stop - rows.start - atr_period, rows.stop) for rows in bars.slices)[::-1]
    lengths, stops = np.array(defined, dtype=np.int64).reshape(-1, 2).T
    walk = _Walk(lengths.size)
    for step in range(0, int(lengths.max(initial=0)), _TILE):
        width = int(np.count_nonzero(lengths > step))
        rows = (stops - lengths)[:width] + np.arange(step, step + _TILE)[:, np.newaxis]
        there = rows < stops[:width]
        highs, lows, closes, reach = (
            source.take(rows, mode="clip") for source in (*map(bars.arrays.__getitem__, (high, low, close)), ranges)
        )
        reach *= multiplier
        middle = np.add(highs, lows, out=highs)
        middle /= 2
        line[rows[there]] = walk.on(middle, reach, closes)[there]
    return (line,)


def vwap(bars: "Bars", high: str, low: str, close: str, volume: str) -> tuple[Floats]:
    """The average of the typical price since the first bar of the session, weighted by volume (Pine's ta.vwap, hlc3).

    NaN until something was traded in the session. The sums of each session begin at 0, so that a value depends on the
    bars of its own session only. Raises ValueError where the bars' sessions are not given.
    """
    if bars.sessions is None:
        raise ValueError("vwap: give the session of each bar")
    begins = np.ones(bars.rows, np.bool_)
    begins[1:] = bars.sessions[1:] != bars.sessions[:-1]
    begins[bars.offsets[bars.offsets < bars.rows]] = True
    session = np.cumsum(begins) - 1
    place = np.arange(bars.rows) - np.flatnonzero(begins)[session]
    arrays = bars.arrays
    typical = (arrays[high] + arrays[low] + arrays[close]) / 3
    turnover, traded = typical * arrays[volume], arrays[volume].copy()
    # The n-th bars of all sessions at once, each added to the sums of the bar before it.
    order = np.argsort(place, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(place)))[1:-1]:
        turnover[rows] += turnover[rows - 1]
        traded[rows] += traded[rows - 1]
    return (np.divide(turnover, traded, out=np.full(bars.rows, np.nan), where=traded > 0),)


class _Walk:
    """Supertrend of instruments side by side, a tile of bars after the other.

    A lower band that rises is an upper band that falls, seen from below: upper bands, closes and their negatives are
    walked over together, in arrays of shape (bars, 2, instruments).
    """

    def __init__(self, width: int) -> None:
        self._limit: Floats = np.full((2, width), np.inf)
        """What the next bar's bands must not exceed: infinite where the last close lay beyond its band."""
        self._rising: NDArray[np.bool_] | None = None

    def on(self, middle: Floats, reach: Floats, close: Floats) -> Floats:
        """The line over the next bars, all of shape (bars, instruments), of as many instruments as before or fewer."""
        width = middle.shape[1]
        bands, prices = np.stack([middle + reach, reach - middle], axis=1), np.stack([close, -close], axis=1)
        beyond = np.empty(bands.shape, dtype=np.bool_)
        limit, unlimited = self._limit[:, :width].copy(), np.full((2, width), np.inf)
        for now, price, crossed in zip(bands, prices, beyond, strict=True):
            np.minimum(now, limit, out=now)
            np.greater(price, now, out=crossed)
            np.copyto(limit, now)
            np.copyto(limit, unlimited, where=crossed)
        self._limit = limit
        return np.where(self._trend(beyond[:, 0], beyond[:, 1]), -bands[:, 1], bands[:, 0])

    def _trend(self, above: NDArray[np.bool_], below: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether each bar's trend rises: a falling one turns at a close above its band, a rising one at one below."""
        rising = np.zeros(above.shape[1], np.bool_) if self._rising is None else self._rising[: above.shape[1]]
        if self._rising is None:
            above[0] = False
        differs = ~(above ^ below)  # from `above`, where the trend has risen so far
        for now, flips in zip(above, differs, strict=True):
            np.logical_and(flips, rising, out=flips)
            np.logical_xor(now, flips, out=now)
            rising = now
        self._rising = rising.copy()
        return above


FORMULAS: Mapping[str, Callable[..., tuple[Floats, ...]]] = {
    "keltner": keltner,
    "supertrend": supertrend,
    "vwap": vwap,
}

_PERIOD = 14
"""Bars of the indicators that can be undefined."""
_SMOOTHING = 3
"""Bars of each of the two averages of the slow stochastic."""


def _no_change(bars: "Bars") -> NDArray[np.bool_]:
    """Close has been the same since the first bar: there are neither gains nor losses to weigh."""
    undefined = np.empty(bars.rows, np.bool_)
    for rows, close in zip(bars.slices, bars.parts("close"), strict=True):
        undefined[rows] = np.logical_and.accumulate(close == close[0])
    return undefined


def _no_range(bars: "Bars") -> NDArray[np.bool_]:
    """The highest high of the period is its lowest low."""
    highest, lowest = (bars.talib(pick, name, timeperiod=_PERIOD) for pick, name in (("MAX", "high"), ("MIN", "low")))
    found: NDArray[np.bool_] = highest == lowest
    return found


def _no_range_within(bars: "Bars", averages: int) -> NDArray[np.bool_]:
    """One of the values that enter the last of so many averages has no range.

    Rows of the instrument before are no matter: those at the beginning of each are in its warm-up.
    """
    found = _no_range(bars)
    undefined = found.copy()
    for back in range(1, averages * (_SMOOTHING - 1) + 1):
        undefined[back:] |= found[:-back]
    return undefined


def _no_flow(bars: "Bars") -> NDArray[np.bool_]:
    """Nothing was traded at a price above or below that of the bar before."""
    arrays = bars.arrays
    typical = (arrays["high"] + arrays["low"] + arrays["close"]) / 3
    flows = np.append(False, np.diff(typical) != 0)[: bars.rows] & (arrays["volume"] > 0)
    undefined = np.empty(bars.rows, np.bool_)
    for rows in bars.slices:
        # The number of flows, because their running sum need not come back to 0.
        undefined[rows] = talib.SUM(flows[rows].astype(np.float64), timeperiod=_PERIOD) == 0
    return undefined


UNDEFINED: Mapping[str, Callable[["Bars"], NDArray[np.bool_]]] = {
    "no_change": _no_change,
    "no_range": _no_range,
    "no_range_smoothed": lambda bars: _no_range_within(bars, 1),
    "no_range_smoothed_twice": lambda bars: _no_range_within(bars, 2),
    "no_flow": _no_flow,
}
"""By name, the rows in which a ratio of a declared column is 0 / 0."""
