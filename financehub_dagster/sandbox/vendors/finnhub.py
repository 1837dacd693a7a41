"""Finnhub as its users meet it: zeros for an unknown symbol, candles for customers only.

Belongs here: endpoints, limits, refusals and documents. Does not belong here: the market's figures (`sandbox.market`).
Endpoints and shapes follow the vendor's OpenAPI description (finnhub.io/docs/api); the texts are the ones its users
report. Numbers are JSON numbers, times epoch seconds; a candle is labelled by its day's midnight at the exchange.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, override
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market import newsroom
from financehub_dagster.sandbox.market.companies import Company, company
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.minutes import Bars
from financehub_dagster.sandbox.market.newsroom import Article
from financehub_dagster.sandbox.market.sessions import is_open
from financehub_dagster.sandbox.market.snapshot import snapshot
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import JITTER_SECONDS, RateWindow
from financehub_dagster.sandbox.vendors.vendor import (
    ORIGIN_HEADER,
    Endpoint,
    Identity,
    Refused,
    Situation,
    json_response,
)

#: 60 a minute, 300 for customers, and never more than 30 a second (finnhub.io/docs/api/rate-limit).
_EVERYBODY = RateWindow(1, 30, jitter=JITTER_SECONDS)
FREE = (RateWindow(60, 60, aligned=True), _EVERYBODY)
PAID = (RateWindow(60, 300, aligned=True), _EVERYBODY)
_DAY = 86_400
_MINUTES = ("1", "5", "15", "30", "60")
_MONTH_SECONDS = 31 * _DAY
_NEWS_DAYS = 365
_MILLION = 1e6


class Finnhub(KeyedVendor):
    """Quotes, candles, metrics and news of stocks and funds."""

    name = "finnhub"
    prefix = "/api/v1"
    plans = (FREE, PAID)
    situations = ("bad_key", "burst", "not_in_plan", "unknown_symbol")
    statuses = {401: "bad_key", 403: "not_in_plan", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What a provider asks."""
        return {
            "/quote": self._quote,
            "/stock/candle": self._candle,
            "/stock/metric": self._metric,
            "/stock/market-status": self._market_status,
            "/company-news": self._company_news,
        }

    @override
    def key_of(self, request: Request) -> str | None:
        """The header, or the query."""
        return request.headers.get("X-Finnhub-Token") or request.query_params.get("token") or None

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """Only `symbol`; there are no batches."""
        return [request.query_params.get("symbol", "").upper()]

    @override
    def carries(self, instrument: Instrument) -> bool:
        """Securities."""
        return instrument.asset_type in (AssetType.STOCK, AssetType.ETF)

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """An error text; an unknown symbol is a quote of zeros."""
        if name == "unknown_symbol":
            return json_response(no_quote())
        missing = "Please use an API key." if identity.key is None else "Invalid API key"
        status, words = {
            "bad_key": (401, missing),
            "burst": (429, "API limit reached. Please try again later. Remaining Limit: 0"),
            "not_in_plan": (403, "You don't have access to this resource."),
        }[name]
        return json_response({"error": words}, status)

    @override
    def headers(self, identity: Identity, at: float) -> dict[str, str]:
        """The minute's budget, on every answer to a valid key."""
        if identity.key is None or not self.accounts.valid(identity.key):
            return {}
        limit = self.accounts.window(identity.key, 60).amount
        left = max(0, limit - self.accounts.used(identity.key, 60, at))
        reset = int(self.accounts.resets_at(identity.key, 60, at))
        return {"X-Ratelimit-Limit": str(limit), "X-Ratelimit-Remaining": str(left), "X-Ratelimit-Reset": str(reset)}

    def _asked(self, request: Request) -> Instrument | None:
        symbol = request.query_params.get("symbol", "").upper()
        if not symbol:
            raise Refused(json_response({"error": "Missing parameters"}, 422))
        return self.carried().get(symbol)

    def _quote(self, request: Request) -> Response:
        body, origin = quote(self.market, self._asked(request))
        return json_response(body, headers={ORIGIN_HEADER: origin})

    def _candle(self, request: Request) -> Response:
        self.require_paid(request)
        query, instrument = request.query_params, self._asked(request)
        first, last = query.get("from", ""), query.get("to", "")
        if not first.isdigit() or not last.isdigit():
            raise Refused(json_response({"error": "Missing parameters"}, 422))
        resolution = query.get("resolution", "")
        if resolution == "D":
            body, origin = candles(self.market, instrument, int(first), int(last))
        elif resolution in _MINUTES:
            # A month of them at once, the newest one.
            begins = max(int(first), int(last) - _MONTH_SECONDS)
            body, origin = minute_candles(self.market, instrument, int(resolution), begins, int(last))
        else:
            words = "The sandbox has days and minutes; ask for resolution=D, 1, 5, 15, 30 or 60."
            raise Refused(json_response({"error": words}, 501))
        return json_response(body, headers={ORIGIN_HEADER: origin})

    def _metric(self, request: Request) -> Response:
        symbol = request.query_params.get("symbol", "").upper()
        return json_response(metric(self.market, symbol, self._asked(request)))

    def _market_status(self, request: Request) -> Response:
        if request.query_params.get("exchange") != "US":
            raise Refused(json_response({"error": "Please use a valid exchange."}, 422))
        return json_response(market_status(self.market))

    def _company_news(self, request: Request) -> Response:
        """All of the days from `from` to `to` at once, the newest first; free keys see one year."""
        query, instrument = request.query_params, self._asked(request)
        try:
            first, last = (_midnight(query.get(name, "")) for name in ("from", "to"))
        except ValueError:
            raise Refused(json_response({"error": "Invalid date format. Use YYYY-MM-DD."}, 422)) from None
        if not self.paid(request):
            first = max(first, self.market.now() - _NEWS_DAYS * _DAY)
        found = [] if instrument is None else newsroom.articles(self.market, [instrument], first, last + _DAY - 1)
        related = query["symbol"].upper()
        # Now and then the vendor lists an article twice.
        listed = [each for each in found if not each.removed for _ in range(1 + each.repeated)]
        return json_response([news_row(each, related) for each in listed])


def _midnight(text: str) -> float:
    return datetime.combine(date.fromisoformat(text), time(), UTC).timestamp()


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
    return _candles(history[rows], labels[rows])


def minute_candles(
    market: Market, instrument: Instrument | None, minutes: int, first: int, last: int
) -> tuple[dict[str, Any], str]:
    """Candles of so many minutes that open from `first` to `last`, as traded, and their origin."""
    if instrument is None:
        return {"s": "no_data"}, "none"
    bars = market.intraday(instrument, 60 * minutes, first, last, vendor="finnhub", by_the_clock=True, as_traded=True)
    return _candles(bars, bars.open_time)


def _candles(bars: History | Bars, times: NDArray[Any]) -> tuple[dict[str, Any], str]:
    if not len(bars):
        return {"s": "no_data"}, "none"
    columns = {"c": bars.close, "h": bars.high, "l": bars.low, "o": bars.open, "t": times, "v": bars.volume}
    return {"s": "ok", **{name: column.tolist() for name, column in columns.items()}}, bars.origin


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


def market_status(market: Market) -> dict[str, Any]:
    """/stock/market-status of the US."""
    trades = is_open("XNYS", market.now())
    return {
        "exchange": "US",
        "holiday": None,
        "isOpen": trades,
        "session": "regular" if trades else None,
        "timezone": "America/New_York",
        "t": int(market.now()),
    }


def news_row(article: Article, related: str) -> dict[str, Any]:
    """One article of /company-news."""
    return {
        "category": "company",
        "datetime": article.published,
        "headline": article.title,
        "id": article.number,
        "image": article.image or "",
        "related": related,
        "source": article.source.name,
        "summary": article.summary,
        "url": article.url,
    }
