"""Finnhub as its users meet it: zeros for an unknown symbol, candles for customers only.

Belongs here: endpoints, limits and refusals. Does not belong here: the documents (documents). Endpoints and
shapes follow the vendor's OpenAPI description (finnhub.io/docs/api); the texts are the ones its users report.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import override

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market import newsroom
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.vendors.accounts import Accounts
from financehub_dagster.sandbox.vendors.finnhub import documents
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor, Refused
from financehub_dagster.sandbox.vendors.limits import RateWindow
from financehub_dagster.sandbox.vendors.vendor import ORIGIN_HEADER, Identity, Situation, json_response

#: 60 a minute, 300 for customers, and never more than 30 a second (finnhub.io/docs/api/rate-limit).
_EVERYBODY = RateWindow(1, 30)
FREE = (RateWindow(60, 60, aligned=True), _EVERYBODY)
PAID = (RateWindow(60, 300, aligned=True), _EVERYBODY)
_DAY = 86_400
_MINUTES = ("1", "5", "15", "30", "60")
_MONTH_SECONDS = 31 * _DAY
_NEWS_DAYS = 365
_GENERAL_NEWS_DAYS = 3


class Finnhub(KeyedVendor):
    """Quotes, daily candles, metrics, profiles and news of stocks and funds."""

    name = "finnhub"
    situations = ("bad_key", "burst", "not_in_plan", "unknown_symbol")
    statuses = {401: "bad_key", 403: "not_in_plan", 429: "burst"}  # noqa: RUF012

    def __init__(self, market: Market) -> None:
        super().__init__(market, Accounts(FREE, PAID))

    @property
    @override
    def routes(self) -> Sequence[BaseRoute]:
        """The endpoints."""
        endpoints = {
            "/quote": self._quote,
            "/stock/candle": self._candle,
            "/crypto/candle": self._candle,
            "/stock/metric": self._metric,
            "/stock/profile2": self._profile,
            "/stock/symbol": lambda _: json_response([documents.symbol_row(n, e) for n, e in self.carried().items()]),
            "/stock/market-status": self._market_status,
            "/company-news": self._company_news,
            "/news": self._news,
            "/search": self._search,
        }
        return [Route(f"/api/v1{path}", self.answering(answer)) for path, answer in endpoints.items()]

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
            return json_response(documents.no_quote())
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
        body, origin = documents.quote(self.market, self._asked(request))
        return json_response(body, headers={ORIGIN_HEADER: origin})

    def _candle(self, request: Request) -> Response:
        if not self.paid(request):
            raise Refused(self.situation("not_in_plan", Identity(), self.market.now()))
        query, instrument = request.query_params, self._asked(request)
        first, last = query.get("from", ""), query.get("to", "")
        if not first.isdigit() or not last.isdigit():
            raise Refused(json_response({"error": "Missing parameters"}, 422))
        resolution = query.get("resolution", "")
        if resolution == "D":
            body, origin = documents.candles(self.market, instrument, int(first), int(last))
        elif resolution in _MINUTES:
            # A month of them at once, the newest one.
            begins = max(int(first), int(last) - _MONTH_SECONDS)
            body, origin = documents.minute_candles(self.market, instrument, int(resolution), begins, int(last))
        else:
            words = "The sandbox has days and minutes; ask for resolution=D, 1, 5, 15, 30 or 60."
            raise Refused(json_response({"error": words}, 501))
        return json_response(body, headers={ORIGIN_HEADER: origin})

    def _metric(self, request: Request) -> Response:
        symbol = request.query_params.get("symbol", "").upper()
        return json_response(documents.metric(self.market, symbol, self._asked(request)))

    def _profile(self, request: Request) -> Response:
        return json_response(documents.profile(self.market, self._asked(request)))

    def _market_status(self, request: Request) -> Response:
        if request.query_params.get("exchange") != "US":
            raise Refused(json_response({"error": "Please use a valid exchange."}, 422))
        return json_response(documents.market_status(self.market))

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
        rows = [documents.news_row(each, "company", related) for each in found if not each.removed]
        # Now and then the vendor lists an article twice.
        return json_response(
            [row for row, each in zip(rows, _kept(found), strict=True) for _ in range(1 + each.repeated)]
        )

    def _news(self, request: Request) -> Response:
        query = request.query_params
        category = query.get("category")
        if category not in ("general", "forex", "crypto", "merger"):
            raise Refused(json_response({"error": "Missing parameters"}, 422))
        cryptos = [
            each for each in self.market.listed if (each.asset_type is AssetType.CRYPTO) == (category == "crypto")
        ]
        now = self.market.now()
        found = newsroom.articles(self.market, cryptos, now - _GENERAL_NEWS_DAYS * _DAY, now)
        after = int(query["minId"]) if query.get("minId", "").isdigit() else 0
        rows = [documents.news_row(each, category, "") for each in _kept(found) if each.number > after]
        return json_response(rows[:100] if category in ("general", "crypto") else [])

    def _search(self, request: Request) -> Response:
        return json_response(documents.search(self.carried(), request.query_params.get("q", "").upper()))


def _kept(found: list[newsroom.Article]) -> list[newsroom.Article]:
    return [each for each in found if not each.removed]


def _midnight(text: str) -> float:
    return datetime.combine(date.fromisoformat(text), time(), UTC).timestamp()
