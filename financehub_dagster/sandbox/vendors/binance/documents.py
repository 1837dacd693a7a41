"""Binance's documents: klines, tickers and exchange information out of the sample market.

Belongs here: shapes and number formats of the answers. Does not belong here: endpoints, parameters, limits (binance).
Prices and quantities are strings of eight decimals, times are epoch milliseconds, a bar closes one millisecond before
the next opens.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.continuation import price_decimals
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import Floats

#: Every interval of the vendor in seconds; the calendar ones (1w, 1M) have no fixed phase and are not simulated.
INTERVALS = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400,
    "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400, "3d": 259_200, "1w": 604_800, "1M": 2_592_000,
}  # fmt: skip
WEIGHT_PER_MINUTE = 6000
_QUOTE_ASSET = "USDT"
_VOLUME_PER_TRADE = 1e-3


def klines(
    market: Market, instrument: Instrument, interval: str, start: int | None, end: int | None, limit: int
) -> tuple[list[list[Any]], str] | None:
    """Klines between `start` and `end` (open times in ms, both included) and their origin; None where not simulated.

    With `start` the oldest `limit` bars from there on, otherwise the latest `limit` bars up to `end`.
    """
    if interval != "1d":
        seconds = INTERVALS[interval]
        if seconds >= INTERVALS["1d"] or seconds < INTERVALS["1m"]:
            return None
        earliest, latest = (0 if start is None else start / 1000), (market.now() if end is None else end / 1000)
        bars = market.intraday(
            instrument, seconds, earliest, latest, vendor="binance", limit=limit, newest=start is None
        )
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        return _kline_rows(bars.open_time, seconds, *columns), bars.origin
    history = market.daily(instrument)
    opens, columns = history.opens, (history.open, history.high, history.low, history.close, history.volume)
    first = 0 if start is None else int(np.searchsorted(opens, start / 1000, side="left"))
    last = len(opens) if end is None else int(np.searchsorted(opens, end / 1000, side="right"))
    rows = slice(first, min(last, first + limit)) if start is not None else slice(max(first, last - limit), last)
    if rows.start >= rows.stop:
        return [], "none"
    return _kline_rows(opens[rows], INTERVALS[interval], *(column[rows] for column in columns)), history[rows].origin


def _kline_rows(
    opens: NDArray[np.int64], seconds: int, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
) -> list[list[Any]]:
    """Turnover, trades and taker shares are derived from the bar: nobody recorded them."""
    turnover = volume * (high + low + close) / 3
    trades = np.nan_to_num(np.ceil(turnover * _VOLUME_PER_TRADE)).astype(np.int64)
    rows = zip(
        (opens * 1000).tolist(),
        _strings(open_),
        _strings(high),
        _strings(low),
        _strings(close),
        _strings(volume),
        (opens * 1000 + seconds * 1000 - 1).tolist(),
        _strings(turnover),
        trades.tolist(),
        _strings(volume / 2),
        _strings(turnover / 2),
        strict=True,
    )
    return [[*row, "0"] for row in rows]


def _strings(values: Floats) -> list[str]:
    return [f"{value:.8f}" for value in values.tolist()]


def full_ticker(name: str, history: History, now: float) -> dict[str, Any]:
    """ticker/24hr of type FULL; the sandbox's day is the running UTC day."""
    opened, price = float(history.open[-1]), float(history.close[-1])
    previous = float(history.close[-2]) if len(history) > 1 else opened
    spread = 10.0 ** -_decimals(price)
    return mini_ticker(name, history, now) | {
        "priceChange": f"{price - opened:.8f}",
        "priceChangePercent": f"{100 * (price - opened) / opened:.3f}",
        "weightedAvgPrice": f"{(opened + price) / 2:.8f}",
        "prevClosePrice": f"{previous:.8f}",
        "lastQty": "1.00000000",
        "bidPrice": f"{price - spread:.8f}",
        "bidQty": "1.00000000",
        "askPrice": f"{price + spread:.8f}",
        "askQty": "1.00000000",
    }


def mini_ticker(name: str, history: History, now: float) -> dict[str, Any]:
    """ticker/24hr of type MINI."""
    row = _kline_rows(history.opens[-1:], 86_400, *_last_bar(history))[0]
    return {
        "symbol": name,
        "openPrice": row[1],
        "highPrice": row[2],
        "lowPrice": row[3],
        "lastPrice": row[4],
        "volume": row[5],
        "quoteVolume": row[7],
        "openTime": row[0],
        "closeTime": int(min(now, history.closes[-1]) * 1000),
        "firstId": 0,
        "lastId": row[8] - 1,
        "count": row[8],
    }


def price_ticker(name: str, history: History, _: float) -> dict[str, Any]:
    """ticker/price."""
    return {"symbol": name, "price": f"{history.close[-1]:.8f}"}


def book_ticker(name: str, history: History, now: float) -> dict[str, Any]:
    """ticker/bookTicker, one tick wide."""
    fields = ("symbol", "bidPrice", "bidQty", "askPrice", "askQty")
    full = full_ticker(name, history, now)
    return {field: full[field] for field in fields}


def symbol_information(name: str, history: History) -> dict[str, Any]:
    """One member of exchangeInfo's symbols."""
    decimals = _decimals(float(history.close[-1]))
    tick = f"{10.0**-decimals:.8f}"
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": name.removesuffix(_QUOTE_ASSET),
        "baseAssetPrecision": 8,
        "quoteAsset": _QUOTE_ASSET,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def rate_limits(weight_per_minute: int) -> list[dict[str, Any]]:
    """The rateLimits of exchangeInfo, as the vendor's REST documentation lists them."""
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_per_minute},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
    ]


def _last_bar(history: History) -> tuple[Floats, ...]:
    return tuple(column[-1:] for column in (history.open, history.high, history.low, history.close, history.volume))


def _decimals(price: float) -> int:
    return price_decimals(AssetType.CRYPTO, price) if price > 0 else 8
