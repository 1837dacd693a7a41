"""Yahoo Finance as yfinance meets it: routes, limits, cookie and crumb, refusals.

Belongs here: Yahoo's endpoints around the price data. Does not belong here: the chart document itself (charts).
All *.yahoo.com hosts share one address in the sandbox, since their paths do not collide.
"""

from collections.abc import Iterable, Mapping
from typing import override

import numpy as np
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.history import common_origin
from financehub_dagster.sandbox.market.snapshot import snapshot_of
from financehub_dagster.sandbox.vendors.vendor import (
    ORIGIN_HEADER,
    Endpoint,
    Identity,
    Quirk,
    Refused,
    Situation,
    Vendor,
    json_response,
    quirk_of,
    retry_headers,
)
from financehub_dagster.sandbox.vendors.yahoo.charts import chart_document, chart_error
from financehub_dagster.sandbox.vendors.yahoo.meta import QUOTE_TYPES, exchange_name, shortest

#: Any crumb would do; Yahoo's are 11 characters, like this one.
CRUMB = "sAnDb0xCrUm"
_COOKIE = "A3=d=sandbox&S=sandbox; Max-Age=31536000; Domain=.yahoo.com; Path=/; Secure; HttpOnly"
#: What yfinance looks for in a page served with any status; without a csrfToken it falls back to its other strategy.
_NO_CONSENT_PAGE = "<!doctype html><title>Yahoo</title><p>No consent is asked for in this region."
_DOWN_PAGE = "<!doctype html><title>Yahoo</title><h1>Will be right back...</h1>"


class Yahoo(Vendor):
    """chart, quote, and the cookie and crumb dance before them."""

    name = "yahoo"
    plans = ((),)
    quirks: tuple[Quirk, ...] = ("closing_bar", "extended_hours", "null_rows")
    situations = ("burst", "unknown_symbol")

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every endpoint that yfinance asks for prices, and for symbols it does not know."""
        return {
            "/": self._cookie,
            "/v1/test/getcrumb": lambda _: PlainTextResponse(CRUMB),
            "/consent": lambda _: Response(_NO_CONSENT_PAGE, media_type="text/html"),
            "/v8/finance/chart/{symbol}": self._chart,
            "/v7/finance/quote": self._quote,
            "/v10/finance/quoteSummary/{symbol}": self._summary,
            "/ws/fundamentals-timeseries/v1/finance/timeseries/{symbol}": self._fundamentals,
        }

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """The last part of the path, or `symbols`; upper and lower case are the same."""
        path = request.url.path
        if path.endswith("/quote"):
            return request.query_params.get("symbols", "").upper().split(",")
        parts = ("/chart/", "/quoteSummary/", "/timeseries/")
        return [path.rsplit("/", 1)[-1].upper()] if any(part in path for part in parts) else []

    @override
    def carries(self, instrument: Instrument) -> bool:
        """Securities under their own symbol or its alias, and cryptos that have an alias."""
        return instrument.asset_type is not AssetType.CRYPTO or self.name in instrument.aliases

    @override
    def headers(self, identity: Identity, at: float) -> dict[str, str]:
        """Those of Yahoo's edge."""
        return {"server": "ATS"}

    @override
    def refusal(self, status: int, retry_after: int | None) -> Response:
        """Plain text for 429, the chart's error document for other 4xx, an HTML page for 5xx."""
        headers = retry_headers(retry_after)
        if status == 429:
            return PlainTextResponse("Too Many Requests\r\n", status, headers)
        if status >= 500:
            return Response(_DOWN_PAGE, status, headers, "text/html")
        code, description = {
            401: ("Unauthorized", "Invalid Crumb"),
            404: ("Not Found", "No data found, symbol may be delisted"),
        }.get(status, ("Bad Request", f"Refused with status {status}"))
        return json_response(chart_error(code, description), status, headers)

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """Yahoo's throttle says nothing more; an unknown symbol may have been delisted."""
        return self.refusal(404 if name == "unknown_symbol" else 429, None)

    @override
    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """Yahoo publishes no limit: none is enforced until a test sets one, by default for a minute."""
        super().limit(calls, 60.0 if window_seconds is None else window_seconds)

    def _find(self, name: str) -> Instrument | None:
        return self.carried().get(name.upper())

    def _cookie(self, _: Request) -> Response:
        """fc.yahoo.com answers 404 and sets the cookie all the same."""
        return Response("<!doctype html><title>Not Found</title>", 404, {"set-cookie": _COOKIE}, "text/html")

    def _chart(self, request: Request) -> Response:
        instrument = self._find(request.path_params["symbol"])
        if instrument is None:
            raise Refused(self.refusal(404, None))
        document, origin = chart_document(self.market, instrument, dict(request.query_params), quirk_of(request))
        return json_response(document, headers={ORIGIN_HEADER: origin})

    def _quote(self, request: Request) -> Response:
        if request.query_params.get("crumb") != CRUMB:
            error = {"code": "Unauthorized", "description": "Invalid Crumb"}
            return json_response({"finance": {"result": None, "error": error}}, 401)
        asked = [name for name in request.query_params.get("symbols", "").split(",") if name]
        found = [instrument for instrument in map(self._find, asked) if instrument]
        result = [quote for quote in map(self._quote_of, found) if quote]
        origin = common_origin(self.market.daily(instrument)[-1:].origin for instrument in found)
        return json_response({"quoteResponse": {"result": result, "error": None}}, headers={ORIGIN_HEADER: origin})

    def _quote_of(self, instrument: Instrument) -> dict[str, object] | None:
        """The fields of a quote that have to do with price; None before the first session."""
        history = self.market.daily(instrument)
        if not len(history):
            return None
        found = snapshot_of(history, self.market.now())
        code, name = exchange_name(instrument)
        return {
            "language": "en-US",
            "region": "US",
            "quoteType": QUOTE_TYPES[instrument.asset_type],
            "currency": instrument.currency,
            "symbol": instrument.symbol_at(self.name),
            "shortName": instrument.name,
            "longName": instrument.name,
            "exchange": code,
            "fullExchangeName": name,
            "exchangeTimezoneName": instrument.timezone,
            "marketState": "REGULAR" if found.is_open else "CLOSED",
            "regularMarketTime": found.time,
            "regularMarketPrice": shortest(found.price),
            "regularMarketChange": shortest(found.change),
            "regularMarketChangePercent": shortest(found.percent),
            "regularMarketPreviousClose": shortest(found.previous_close),
            "regularMarketOpen": shortest(found.open),
            "regularMarketDayHigh": shortest(found.high),
            "regularMarketDayLow": shortest(found.low),
            "regularMarketVolume": int(np.nan_to_num(found.volume)),
            "fiftyTwoWeekHigh": shortest(found.year_high),
            "fiftyTwoWeekLow": shortest(found.year_low),
            "firstTradeDateMilliseconds": int(history.opens[0]) * 1000,
            "marketCap": instrument.market_cap,
            "priceHint": 2,
            "sourceInterval": 15,
            "exchangeDataDelayedBy": 0,
            "tradeable": False,
        }

    def _summary(self, request: Request) -> Response:
        """The sandbox has no fundamentals: Yahoo's words for that, or for a symbol it does not know."""
        symbol = request.path_params["symbol"]
        modules = request.query_params.get("modules", "")
        unknown = f"Quote not found for symbol: {symbol}"
        missing = f"No fundamentals data found for any of the summaryTypes={modules}"
        description = missing if self._find(symbol) else unknown
        error = {"code": "Not Found", "description": description}
        return json_response({"quoteSummary": {"result": None, "error": error}}, 404)

    def _fundamentals(self, _: Request) -> Response:
        return json_response({"timeseries": {"result": [], "error": None}})
