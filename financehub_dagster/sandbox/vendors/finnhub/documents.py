"""Finnhub's documents out of the sample market.

Belongs here: shapes and number formats of the answers. Does not belong here: endpoints, limits, refusals (finnhub).
Numbers are JSON numbers, times epoch seconds; a candle is labelled by its day's midnight at the exchange.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.companies import Company, company
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.newsroom import Article
from financehub_dagster.sandbox.market.snapshot import snapshot

_EXCHANGES = {"XNAS": "NASDAQ NMS - GLOBAL MARKET", "XNYS": "NEW YORK STOCK EXCHANGE, INC.", "ARCX": "NYSE ARCA"}
_MILLION = 1e6


def no_quote() -> dict[str, Any]:
    """What an unknown symbol gets."""
    return {"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0}


def quote(market: Market, instrument: Instrument | None) -> tuple[dict[str, Any], str]:
    """/quote and its origin; zeros for an unknown symbol or one that has never traded."""
    found = None if instrument is None else snapshot(market, instrument)
    if found is None:
        return no_quote(), "none"
    body = {
        "c": found.price,
        "d": round(found.change, 4),
        "dp": round(found.percent, 4),
        "h": found.high,
        "l": found.low,
        "o": found.open,
        "pc": found.previous_close,
        "t": found.time,
    }
    return body, found.origin


def candles(market: Market, instrument: Instrument | None, first: int, last: int) -> tuple[dict[str, Any], str]:
    """Daily candles labelled from `first` to `last`, oldest first, adjusted for splits, and their origin."""
    if instrument is None:
        return {"s": "no_data"}, "none"
    history = market.daily(instrument)
    zone = ZoneInfo(instrument.timezone)
    labels = np.array([datetime.combine(day, time(), zone).timestamp() for day in history.date.tolist()], np.int64)
    rows = (labels >= first) & (labels <= last)
    chosen = history[rows]
    if not len(chosen):
        return {"s": "no_data"}, "none"
    columns = {"c": chosen.close, "h": chosen.high, "l": chosen.low, "o": chosen.open}
    body = {name: column.tolist() for name, column in columns.items()}
    return body | {"s": "ok", "t": labels[rows].tolist(), "v": chosen.volume.tolist()}, chosen.origin


def minute_candles(
    market: Market, instrument: Instrument | None, minutes: int, first: int, last: int
) -> tuple[dict[str, Any], str]:
    """Candles of so many minutes that open from `first` to `last`, as traded, and their origin."""
    if instrument is None:
        return {"s": "no_data"}, "none"
    bars = market.intraday(instrument, 60 * minutes, first, last, vendor="finnhub", by_the_clock=True, as_traded=True)
    if not len(bars):
        return {"s": "no_data"}, "none"
    columns = {"c": bars.close, "h": bars.high, "l": bars.low, "o": bars.open}
    body = {name: column.tolist() for name, column in columns.items()}
    return body | {"s": "ok", "t": bars.open_time.tolist(), "v": bars.volume.tolist()}, bars.origin


def metric(market: Market, symbol: str, instrument: Instrument | None) -> dict[str, Any]:
    """/stock/metric with metric=all; empty objects for an unknown symbol."""
    found = None if instrument is None else company(market, instrument)
    if found is None:
        return {"metric": {}, "metricType": "all", "series": {}, "symbol": symbol}
    quarter = found.latest_quarter.isoformat()
    margin = [{"period": quarter, "v": round(found.profit_margin, 4)}]
    return {
        "metric": _metrics(found),
        "metricType": "all",
        "series": {"annual": {"netMargin": margin}, "quarterly": {"netMargin": margin}},
        "symbol": symbol,
    }


def _metrics(found: Company) -> dict[str, Any]:
    """Per cent where Finnhub has per cent, millions where it has millions."""
    quote_ = found.snapshot
    return {
        "10DayAverageTradingVolume": round(quote_.average_volume / _MILLION, 5),
        "3MonthAverageTradingVolume": round(quote_.average_volume / _MILLION, 5),
        "52WeekHigh": quote_.year_high,
        "52WeekLow": quote_.year_low,
        "beta": round(found.beta, 4),
        "bookValuePerShareQuarterly": round(found.book_value, 4),
        "currentDividendYieldTTM": round(100 * found.dividend_yield, 4) or None,
        "dividendPerShareAnnual": round(found.dividend_per_share, 4) or None,
        "epsTTM": found.eps,
        "marketCapitalization": round(found.market_cap / _MILLION, 4),
        "netProfitMarginTTM": round(100 * found.profit_margin, 2),
        "operatingMarginTTM": round(100 * found.operating_margin, 2),
        "pb": round(quote_.price / found.book_value, 4),
        "peTTM": None if found.pe is None else round(found.pe, 4),
        "revenueGrowthTTMYoy": round(50 * found.growth, 2),
        "revenuePerShareTTM": round(found.revenue / found.shares, 4),
        "roeTTM": round(100 * found.return_on_equity, 2),
    }


def profile(market: Market, instrument: Instrument | None) -> dict[str, Any]:
    """/stock/profile2; nothing for an unknown symbol."""
    found = None if instrument is None else company(market, instrument)
    if found is None or instrument is None:
        return {}
    symbol = instrument.symbol_at("finnhub")
    return {
        "country": "US",
        "currency": instrument.currency,
        "estimateCurrency": instrument.currency,
        "exchange": _EXCHANGES.get(instrument.exchange, instrument.exchange),
        "finnhubIndustry": found.sector,
        "ipo": found.listed_since.isoformat(),
        "logo": f"https://static.example.com/logo/{symbol}.png",
        "marketCapitalization": round(found.market_cap / _MILLION, 4),
        "name": instrument.name,
        "phone": "",
        "shareOutstanding": round(found.shares / _MILLION, 4),
        "ticker": symbol,
        "weburl": f"https://{symbol.lower()}.example.com/",
    }


def symbol_row(symbol: str, instrument: Instrument) -> dict[str, Any]:
    """One row of /stock/symbol."""
    return {
        "currency": instrument.currency,
        "description": instrument.name.upper(),
        "displaySymbol": symbol,
        "figi": "",
        "mic": instrument.exchange,
        "symbol": symbol,
        "type": "ETP" if instrument.asset_type is AssetType.ETF else "Common Stock",
    }


def search(carried: Mapping[str, Instrument], sought: str) -> dict[str, Any]:
    """/search by the beginning of a symbol or part of a name."""
    fields = ("description", "displaySymbol", "symbol", "type")
    found = [
        (name, each)
        for name, each in carried.items()
        if sought and (name.startswith(sought) or sought in each.name.upper())
    ]
    rows = [symbol_row(name, each) for name, each in found]
    return {"count": len(rows), "result": [{field: row[field] for field in fields} for row in rows]}


def market_status(market: Market) -> dict[str, Any]:
    """/stock/market-status of the US."""
    fund = market.listed.get("SPY")
    found = None if fund is None else snapshot(market, fund)
    is_open = found is not None and found.is_open
    return {
        "exchange": "US",
        "holiday": None,
        "isOpen": is_open,
        "session": "regular" if is_open else None,
        "timezone": "America/New_York",
        "t": int(datetime.fromtimestamp(market.now(), UTC).timestamp()),
    }


def news_row(article: Article, category: str, related: str) -> dict[str, Any]:
    """One article of /company-news or /news."""
    return {
        "category": category,
        "datetime": article.published,
        "headline": article.title,
        "id": article.number,
        "image": article.image or "",
        "related": related,
        "source": article.source.name,
        "summary": article.summary,
        "url": article.url,
    }
