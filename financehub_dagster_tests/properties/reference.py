"""Formulas written out bar by bar, slowly and obviously, to hold the fast ones against."""

import numpy as np

from financehub_dagster_tests.properties.markets import Bars, Floats

NAN = float("nan")


def wilder_atr(bars: Bars, period: int) -> Floats:
    """Average true range: the mean of the first `period` true ranges, then smoothed by 1/period."""
    ranges = [
        max(high, before) - min(low, before)
        for high, low, before in zip(bars.high[1:], bars.low[1:], bars.close[:-1], strict=True)
    ]
    average = [NAN] * len(bars)
    if len(ranges) >= period:
        average[period] = sum(ranges[:period]) / period
    for row in range(period + 1, len(bars)):
        average[row] = (average[row - 1] * (period - 1) + ranges[row - 1]) / period
    return np.array(average)


def ema(values: Floats, period: int) -> Floats:
    """Exponential moving average: it starts at the mean of the first `period` values."""
    average = [NAN] * len(values)
    if len(values) >= period:
        average[period - 1] = sum(values[:period]) / period
    for row in range(period, len(values)):
        average[row] = average[row - 1] + (values[row] - average[row - 1]) * 2 / (period + 1)
    return np.array(average)


def supertrend_bands(bars: Bars, period: int = 10, multiplier: float = 3.0) -> list[tuple[float, float]]:
    """The upper and lower band of each bar that has them, as TradingView's ta.supertrend states them."""
    atr = wilder_atr(bars, period)
    bands: list[tuple[float, float]] = []
    for row in range(period, len(bars)):
        middle = (bars.high[row] + bars.low[row]) / 2
        upper, lower = middle + multiplier * atr[row], middle - multiplier * atr[row]
        if bands:
            before, (previous_upper, previous_lower) = bars.close[row - 1], bands[-1]
            lower = lower if lower > previous_lower or before < previous_lower else previous_lower
            upper = upper if upper < previous_upper or before > previous_upper else previous_upper
        bands.append((upper, lower))
    return bands


def supertrend(bars: Bars, period: int = 10, multiplier: float = 3.0) -> Floats:
    """TradingView's ta.supertrend: the upper band while the trend falls, the lower one while it rises."""
    line = np.full(len(bars), NAN)
    falling = True
    for row, (upper, lower) in enumerate(supertrend_bands(bars, period, multiplier), start=period):
        if row > period:
            falling = not bars.close[row] > upper if falling else bars.close[row] < lower
        line[row] = upper if falling else lower
    return line
