"""Formulas of our own: what TA-Lib lacks, built from what it has.

Belongs here: functions of many instruments' bars that return one array per output. Does not belong here: anything
TA-Lib computes. No compiled code: importing numba costs more than computing Supertrend for thousands of instruments.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from financehub_dagster.market.indicators.engine import Bars

type Floats = NDArray[np.float64]

_ABREAST = 128
"""Instruments walked side by side: enough to spread numpy's cost per step, few enough to stay in the cache."""


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
    prices = bars.arrays[close]
    reach = multiplier * bars.talib("ATR", high, low, close, timeperiod=atr_period)
    middle = bars.arrays[high] + bars.arrays[low]
    middle /= 2
    upper, lower = middle + reach, np.subtract(middle, reach, out=middle)
    # The first `atr_period` rows have no range yet. Instruments of like length go abreast, so that little is padded.
    defined = [slice(rows.start + atr_period, rows.stop) for rows in bars.slices]
    defined = sorted((rows for rows in defined if rows.stop > rows.start), key=_length)
    for first in range(0, len(defined), _ABREAST):
        _tighten(upper, lower, prices, defined[first : first + _ABREAST])
    rising = _rising(prices > upper, prices < lower, [rows.start for rows in bars.slices])
    return (np.where(rising, lower, upper),)


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


def _tighten(upper: Floats, lower: Floats, close: Floats, instruments: list[slice]) -> None:
    """Let both bands of the instruments (the longest last) only tighten until close is beyond them, in place."""
    # A lower band that rises is an upper band that falls, seen from below: one walk over twice the rows does both.
    width = len(instruments)
    bands = np.zeros((2 * width, _length(instruments[-1])))
    prices = np.zeros_like(bands)
    for number, rows in enumerate(instruments):
        bands[number, : _length(rows)], bands[width + number, : _length(rows)] = upper[rows], -lower[rows]
        prices[number, : _length(rows)], prices[width + number, : _length(rows)] = close[rows], -close[rows]
    inside = np.empty(2 * width, dtype=bool)
    for now, before, price in zip(bands.T[1:], bands.T, prices.T, strict=False):
        np.less_equal(price, before, out=inside)
        np.minimum(now, before, out=now, where=inside)
    for number, rows in enumerate(instruments):
        upper[rows], lower[rows] = bands[number, : _length(rows)], -bands[width + number, : _length(rows)]


def _rising(above: NDArray[np.bool_], below: NDArray[np.bool_], starts: list[int]) -> NDArray[np.bool_]:
    """Whether each row's trend rises: a close above turns it up, one below turns it down.

    A close beyond both bands at once turns it whichever way it went; at each of `starts` it falls.
    """
    above[starts], below[starts] = False, True
    turns = np.flatnonzero(above | below)
    either_way = above[turns] & below[turns]
    certain = np.maximum.accumulate(np.where(either_way, 0, np.arange(turns.size)))
    flips = np.cumsum(either_way)
    rising = above[turns][certain] ^ ((flips - flips[certain]) % 2 == 1)
    return np.repeat(rising, np.diff(turns, append=above.size))


FORMULAS: Mapping[str, Callable[..., tuple[Floats, ...]]] = {"keltner": keltner, "supertrend": supertrend}
