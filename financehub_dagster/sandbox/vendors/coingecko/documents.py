"""CoinGecko's documents out of the sample market.

Belongs here: shapes and number formats of the answers. Does not belong here: endpoints, parameters, limits (coingecko).
Numbers are JSON numbers, times epoch milliseconds or ISO; a bar of `ohlc` is labelled by its close and has no volume.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.market.coins import Coin, coins, iso, midnights, prices_at, turnovers_at
from financehub_dagster.sandbox.market.companies import shares_of
from financehub_dagster.sandbox.market.history import History, common_origin
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import Floats

CURRENCIES = ("usd", "btc", "eth")
_DAY = 86_400
#: (up to so many days, seconds between points): market_chart, and ohlc.
_CHART_STEPS = ((1, 300), (90, 3600))
_OHLC_STEPS = ((2, 1800), (30, 14_400))
_LONG_OHLC_STEP = 4 * _DAY


def stamp(at: float) -> str:
    """A time as in statuses."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def rate(market: Market, currency: str) -> float | None:
    """What one US dollar is worth in `currency`; None for one that is not played."""
    if currency == "usd":
        return 1.0
    instrument = market.listed.get(currency.upper())
    if currency not in CURRENCIES or instrument is None:
        return None
    return 1 / float(market.daily(instrument).close[-1])


def shown(value: float, precision: str | None = None) -> float | int | None:
    """A price as the vendor rounds it: whole from 10,000 on, to cents from 1 on, else six digits; None for NaN."""
    if not np.isfinite(value):
        return None
    if precision == "full":
        return value
    if precision is not None and precision.isdigit():
        return round(value, int(precision))
    if abs(value) >= 10_000:
        return round(value)
    return round(value, 2) if abs(value) >= 1 else float(f"{value:.6g}")


def simple_price(
    market: Market, instruments: list[Instrument], currencies: list[str], asked: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], str]:
    """/simple/price by coin id, and the origin of the prices; an unknown currency has no member."""
    body = {}
    found = coins(market, instruments)
    for each in found:
        row: dict[str, Any] = {}
        for currency in currencies:
            value = rate(market, currency)
            if value is None:
                continue
            row[currency] = shown(each.price * value, asked.get("precision"))
            if asked.get("include_market_cap") == "true":
                row[f"{currency}_market_cap"] = each.market_cap * value
            if asked.get("include_24hr_vol") == "true":
                row[f"{currency}_24h_vol"] = each.volume * value
            if asked.get("include_24hr_change") == "true":
                row[f"{currency}_24h_change"] = each.changes["24h"]
        if asked.get("include_last_updated_at") == "true":
            row["last_updated_at"] = each.updated
        body[each.instrument.symbol_at("coingecko")] = row
    return body, common_origin(each.origin for each in found)


def markets(
    market: Market, instruments: list[Instrument], rate_: float, asked: Mapping[str, str]
) -> tuple[list[dict[str, Any]], str]:
    """/coins/markets, all pages, in the asked order."""
    found = coins(market, instruments)
    orders = {
        "market_cap_asc": lambda coin: coin.market_cap,
        "volume_asc": lambda coin: coin.volume,
        "volume_desc": lambda coin: -coin.volume,
        "id_asc": lambda coin: coin.instrument.symbol_at("coingecko"),
    }
    found.sort(key=orders.get(asked.get("order", ""), lambda coin: -np.nan_to_num(coin.market_cap)))
    spans = [span for span in asked.get("price_change_percentage", "").split(",") if span]
    return [_market_row(each, rate_, spans, asked.get("precision")) for each in found], common_origin(
        each.origin for each in found
    )


def _market_row(coin: Coin, rate_: float, spans: list[str], precision: str | None) -> dict[str, Any]:
    cap_before = coin.day_ago * coin.circulating
    row = {
        "id": coin.instrument.symbol_at("coingecko"),
        "symbol": coin.instrument.symbol.lower(),
        "name": coin.instrument.name,
        "image": f"https://coin-images.example.com/coins/images/{coin.rank}/large/{coin.instrument.symbol.lower()}.png",
        "current_price": shown(coin.price * rate_, precision),
        "market_cap": _rounded(coin.market_cap * rate_),
        "market_cap_rank": coin.rank,
        "fully_diluted_valuation": _rounded(coin.fully_diluted * rate_),
        "total_volume": _rounded(coin.volume * rate_),
        "high_24h": shown(coin.high * rate_, precision),
        "low_24h": shown(coin.low * rate_, precision),
        "price_change_24h": (coin.price - coin.day_ago) * rate_,
        "price_change_percentage_24h": round(coin.changes["24h"], 5),
        "market_cap_change_24h": (coin.market_cap - cap_before) * rate_,
        "market_cap_change_percentage_24h": round(coin.changes["24h"], 5),
        "circulating_supply": coin.circulating,
        "total_supply": coin.total,
        "max_supply": coin.maximum,
        "ath": shown(coin.highest[0] * rate_),
        "ath_change_percentage": round(100 * (coin.price / coin.highest[0] - 1), 5),
        "ath_date": iso(coin.highest[1]),
        "atl": shown(coin.lowest[0] * rate_),
        "atl_change_percentage": round(100 * (coin.price / coin.lowest[0] - 1), 5),
        "atl_date": iso(coin.lowest[1]),
        "roi": None,
        "last_updated": iso(coin.updated),
    }
    return row | {f"price_change_percentage_{span}_in_currency": coin.changes.get(span) for span in spans}


def coin(market: Market, instrument: Instrument) -> dict[str, Any]:
    """/coins/{id}, as far as it is about the market."""
    found = coins(market, [instrument])
    row = _market_row(found[0], 1.0, [], None) if found else {}
    in_dollars = (
        "current_price",
        "market_cap",
        "fully_diluted_valuation",
        "total_volume",
        "high_24h",
        "low_24h",
        "ath",
        "atl",
    )
    data = {name: {"usd": value} if name in in_dollars else value for name, value in row.items()}
    general = ("id", "symbol", "name", "image", "last_updated", "market_cap_rank")
    return {
        "id": instrument.symbol_at("coingecko"),
        "symbol": instrument.symbol.lower(),
        "name": instrument.name,
        "market_cap_rank": row.get("market_cap_rank"),
        "market_data": {name: value for name, value in data.items() if name not in general},
        "last_updated": row.get("last_updated"),
    }


def ohlc(
    market: Market, instrument: Instrument, days: float | None, daily: bool, rate_: float
) -> tuple[list[list[Any]], str]:
    """/coins/{id}/ohlc: [close in ms, open, high, low, close] every 30 minutes, 4 hours or 4 days, oldest first.

    The last bar is unfinished and ends in the future.
    """
    history, now = market.daily(instrument), market.now()
    span = now / _DAY if days is None else days
    step = _DAY if daily else next((step for most, step in _OHLC_STEPS if span <= most), _LONG_OHLC_STEP)
    first = max(now - span * _DAY, float(history.opens[0])) if len(history) else now
    edges = np.arange(first // step * step, now + step, step, np.float64)
    if step >= _DAY:
        bars = _days_joined(history, edges)
    else:
        path = prices_at(history, now, np.minimum(edges, now)).tolist()
        bars = [
            (edge, a, max(a, b), min(a, b), b) for edge, (a, b) in zip(edges.tolist()[1:], pairwise(path), strict=True)
        ]
    rows = [[int(edge) * 1000, *(shown(price * rate_) for price in prices)] for edge, *prices in bars]
    return rows, history[history.closes > first].origin


def _days_joined(history: History, edges: Floats) -> list[tuple[float, ...]]:
    """(end, open, high, low, close) of the days between each two edges, where there are any."""
    bars: list[tuple[float, ...]] = []
    for (start, stop), end in zip(
        pairwise(np.searchsorted(history.opens, edges).tolist()), edges.tolist()[1:], strict=True
    ):
        days = history[start:stop]
        if len(days):
            extremes = float(np.max(days.high)), float(np.min(days.low))
            bars.append((end, float(days.open[0]), *extremes, float(days.close[-1])))
    return bars


def market_chart(
    market: Market, instrument: Instrument, first: float, last: float, daily: bool, rate_: float
) -> tuple[dict[str, list[list[Any]]], str]:
    """market_chart: points every 5 minutes up to a day, hourly up to 90 days, then at midnight UTC, and one for now."""
    history, now = market.daily(instrument), market.now()
    last = min(last, now)
    first = max(first, float(history.opens[0])) if len(history) else last
    days = (last - first) / _DAY
    step = _DAY if daily else next((step for most, step in _CHART_STEPS if days <= most), _DAY)
    times: Floats = (
        midnights(first, last) if step == _DAY else np.arange(-(-first // step) * step, last + 1, step, np.float64)
    )
    if last == now and (not len(times) or times[-1] < now):
        times = np.append(times, now)
    prices = prices_at(history, now, times) * rate_
    caps = prices * shares_of(instrument)
    body = {
        "prices": _points(times, prices),
        "market_caps": _points(times, caps),
        "total_volumes": _points(times, turnovers_at(history, times) * rate_),
    }
    return body, history[(history.closes >= first) & (history.opens <= last)].origin


def _points(times: Floats, values: Floats) -> list[list[Any]]:
    moments = (times * 1000).astype(np.int64).tolist()
    return [[at, value if value == value else None] for at, value in zip(moments, values.tolist(), strict=True)]


def _rounded(value: float) -> int | None:
    return round(value) if np.isfinite(value) else None
