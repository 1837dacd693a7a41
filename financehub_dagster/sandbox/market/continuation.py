"""Invents the prices that were not recorded: same symbol, same numbers, in any process and for any range.

Belongs here: the random paths and the corporate actions that go with them. Does not belong here: calendars, recordings
or clocks; a path is a sequence of bars by number. Every path is drawn at its full length, so what is asked of it never
changes what it holds.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.sandbox.market.recordings import Floats, Prices

#: Bars drawn per path: every day from 2009 to 2035, the span of the sandbox's calendars, is 9,861.
PATH_LENGTH = 9_861

#: Pull of the log price towards its trend, per bar: a half-life of some 460 bars keeps decades of prices plausible.
_PERSISTENCE = 0.9985
#: Share of a bar's volatility that falls between the last close and the next open.
_GAP_SHARE = 0.25
_RANGE_SHARE = 0.4
_TREND_PER_BAR = 0.06 / 252
#: About what these were worth when the generated histories begin, in February 2013.
_KNOWN = {"DAX": 7_650.0, "NDX": 2_760.0, "DJI": 13_990.0, "EURUSD": 1.337, "GBPUSD": 1.58}
_VOLUME_SPREAD = 0.35
_SPLIT_RATIOS = (2, 3, 4, 10)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a path starts: last known close, volatility of log returns per bar, volume per bar, decimals of both.

    trend is the growth of log prices per bar.
    """

    close: float
    volatility: float
    volume: float
    price_decimals: int
    volume_decimals: int
    trend: float = _TREND_PER_BAR


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """A stock's invented corporate actions: quarterly yield (0: pays none), day of the ex month, one split or none."""

    quarterly_yield: float
    ex_day: int
    split_month: np.datetime64 | None
    split_ratio: int


def random_stream(symbol: str, purpose: str) -> np.random.Generator:
    """A generator of its own for each symbol and purpose, seeded by SHA-256 and so equal in every process."""
    seed = int.from_bytes(hashlib.sha256(f"financehub:{symbol}:{purpose}".encode()).digest()[:16], "big")
    return np.random.Generator(np.random.Philox(key=seed))


def origin_without_recording(symbol: str, asset_type: AssetType) -> Origin:
    """Where a symbol that nobody recorded starts out."""
    draw = random_stream(symbol, "origin").random(3)
    if asset_type is AssetType.CRYPTO:
        close = float(10 ** (4 * draw[0] - 1))
        return Origin(close, 0.025 + 0.015 * draw[1], 5e7 / close * (1 + draw[2]), price_decimals(asset_type, close), 2)
    if asset_type is AssetType.FX:
        close = _KNOWN.get(symbol, float(0.5 + draw[0]))
        return Origin(close, 0.004 + 0.002 * draw[1], 0.0, price_decimals(asset_type, close), 0, trend=0.0)
    if asset_type is AssetType.INDEX:
        close = _KNOWN.get(symbol, float(1_000 * 10 ** draw[0]))
        return Origin(round(close, 2), 0.008 + 0.004 * draw[1], 1e8 * (1 + draw[2]), 2, 0)
    close = float(20 * 10 ** (1.2 * draw[0]))
    return Origin(round(close, 2), 0.010 + 0.012 * draw[1], 1e6 * 10 ** (1.5 * draw[2]), 2, 0)


def price_decimals(asset_type: AssetType, price: float) -> int:
    """Cents for securities, tenths of a pip for currencies; for cryptos five significant digits at `price`.

    Of these there are at least cents and at most Binance's eight decimals.
    """
    if asset_type is AssetType.FX:
        return 5
    if asset_type is not AssetType.CRYPTO:
        return 2
    return int(np.clip(4 - np.floor(np.log10(price)), 2, 8))


def continue_from(symbol: str, origin: Origin) -> Prices:
    """The PATH_LENGTH bars after `origin`: a mean-reverting log-normal walk with overnight gaps and intraday ranges.

    low <= open, close <= high, and all are positive.
    """
    n = PATH_LENGTH
    shocks = random_stream(symbol, "close").standard_normal(n) * origin.volatility
    step = np.arange(1, n + 1)
    # x[t] = p x[t-1] + shock[t], solved for all t at once.
    walk = _PERSISTENCE**step * np.cumsum(shocks * _PERSISTENCE ** (-step.astype(np.float64)))
    close = origin.close * np.exp(origin.trend * step + walk)
    gaps = random_stream(symbol, "open").standard_normal(n) * origin.volatility * _GAP_SHARE
    open_ = np.concatenate(([origin.close], close[:-1])) * np.exp(gaps)
    reach = np.abs(random_stream(symbol, "range").standard_normal((n, 2))) * origin.volatility * _RANGE_SHARE
    high = np.maximum(open_, close) * np.exp(reach[:, 0])
    low = np.minimum(open_, close) * np.exp(-reach[:, 1])
    volume = origin.volume * np.exp(random_stream(symbol, "volume").standard_normal(n) * _VOLUME_SPREAD)
    tick = 10.0**-origin.price_decimals

    def in_ticks(prices: Floats) -> Floats:
        return np.maximum(np.round(prices, origin.price_decimals), tick)

    volume = np.round(volume, origin.volume_decimals)
    return Prices(in_ticks(open_), in_ticks(high), in_ticks(low), in_ticks(close), volume)


def action_plan(symbol: str, asset_type: AssetType) -> ActionPlan:
    """Three stocks in five pay dividends, one in five splits once between 2019 and 2025; nothing else does either."""
    draw = random_stream(symbol, "actions").random(5)
    if asset_type is not AssetType.STOCK:
        return ActionPlan(0.0, 1, None, 1)
    quarterly_yield = (0.01 + 0.03 * draw[1]) / 4 if draw[0] < 0.6 else 0.0
    split_month = np.datetime64("2019-01", "M") + int(draw[3] * 84) if draw[2] < 0.2 else None
    return ActionPlan(
        quarterly_yield, 8 + int(draw[1] * 12), split_month, _SPLIT_RATIOS[int(draw[4] * len(_SPLIT_RATIOS))]
    )
