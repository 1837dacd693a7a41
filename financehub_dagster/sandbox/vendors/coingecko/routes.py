"""CoinGecko as its users meet it, with a Demo key, a Pro key or none.

Belongs here: endpoints, parameters, limits and refusals. Does not belong here: the documents (documents).
Endpoints and shapes follow the vendor's OpenAPI description (coingecko/coingecko-api-oas), error codes its page on
errors and rate limits. Demo and Pro have hosts of their own at the vendor; here the header tells them apart, and a key
on a paid plan is a Pro key.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, override

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.vendors.coingecko import documents
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import RateWindow
from financehub_dagster.sandbox.vendors.vendor import (
    ORIGIN_HEADER,
    Endpoint,
    Identity,
    Refused,
    Situation,
    json_response,
    retry_headers,
)

_MONTH = 2_592_000
#: www.coingecko.com/en/api/pricing; without a key some five calls a minute and address were seen to pass.
DEMO = (RateWindow(60, 30), RateWindow(_MONTH, 10_000, aligned=True))
PRO = (RateWindow(60, 500), RateWindow(_MONTH, 500_000, aligned=True))
KEYLESS = (RateWindow(60, 5),)
_PRICING = "https://www.coingecko.com/en/api/pricing"
_LARGEST_PAGE = 250
_DAY = 86_400
_DEMO_DAYS = 365
_OHLC_DAYS = ("1", "7", "14", "30", "90", "180", "365", "max")


class CoinGecko(KeyedVendor):
    """Prices, markets, charts and coin lists in USD, BTC and ETH."""

    name = "coingecko"
    prefix = "/api/v3"
    plans = (DEMO, PRO, KEYLESS)
    serves_keyless = True
    situations = ("bad_key", "burst", "month_quota", "not_in_plan", "unknown_symbol")
    statuses = {401: "bad_key", 404: "unknown_symbol", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The endpoints of both hosts."""
        return {
            "/ping": lambda _: json_response({"gecko_says": "(V3) To the Moon!"}),
            "/key": self._key,
            "/simple/price": self._simple_price,
            "/simple/supported_vs_currencies": lambda _: json_response(list(documents.CURRENCIES)),
            "/coins/list": self._list,
            "/coins/markets": self._markets,
            "/coins/{id}": self._coin,
            "/coins/{id}/ohlc": self._ohlc,
            "/coins/{id}/market_chart": self._market_chart,
            "/coins/{id}/market_chart/range": self._market_chart_range,
        }

    @override
    def key_of(self, request: Request) -> str | None:
        """The header of either host, or the query."""
        return _demo_key(request) or _pro_key(request)

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """`ids`, or the coin in the path."""
        folders = request.url.path.split("/coins/")
        if len(folders) > 1 and (name := folders[1].split("/")[0]) not in ("list", "markets"):
            return [name]
        return request.query_params.get("ids", "").split(",")

    @override
    def carries(self, instrument: Instrument) -> bool:
        """Cryptos with an id here; a symbol would not be unique."""
        return instrument.asset_type is AssetType.CRYPTO and self.name in instrument.aliases

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """A status object, on its own or below `error`."""
        if name == "unknown_symbol":
            return json_response({"error": "coin not found"}, 404)
        if name == "not_in_plan":
            words = f"This request is limited to Pro API subscribers. Please visit {_PRICING}"
            return json_response(self._status(10005, words), 401)
        if name == "bad_key":
            words = "API Key Missing. Please make sure you're using the right authentication method."
            return json_response(self._status(10002, words, stamped=True), 401)
        visit = f"Please visit {_PRICING} to subscribe to our API plans for higher rate limits."
        words = {
            "burst": f"You've exceeded the Rate Limit. {visit}",
            "month_quota": f"You've exceeded your monthly API call credits. {visit}",
        }[name]
        if name == "month_quota":
            return json_response(self._status(429, words), 429)
        wait = max(1, round(self.accounts.resets_at(identity.key, 60, at) - at))
        return json_response(self._status(429, words), 429, retry_headers(wait))

    def _status(self, code: int, words: str, *, stamped: bool = False) -> dict[str, Any]:
        stamp = {"timestamp": documents.stamp(self.market.now())} if stamped else {}
        return {"status": {**stamp, "error_code": code, "error_message": words}}

    @override
    def answering(self, answer: Endpoint) -> Endpoint:
        """A key at the wrong host is refused before anything else."""

        def checked(request: Request) -> Response:
            hosts = "from {1}api.coingecko.com to {2}api.coingecko.com"
            root = f"If you are using {{0}} API key, please change your root URL {hosts}"
            paid = self.paid(request)
            if _demo_key(request) and paid:
                raise Refused(self._wrong_host(10010, root.format("Pro", "", "pro-")))
            if _pro_key(request) and not paid:
                raise Refused(self._wrong_host(10011, root.format("Demo", "pro-", "")))
            return answer(request)

        return super().answering(checked)

    def _wrong_host(self, code: int, words: str) -> Response:
        stamp = documents.stamp(self.market.now())
        return json_response({"timestamp": stamp, "error_code": code, "status": {"error_message": words}}, 400)

    def _key(self, request: Request) -> Response:
        key = _pro_key(request)
        if key is None:
            raise Refused(self.situation("not_in_plan", Identity(), self.market.now()))
        at = time.time()
        used, windows = (
            self.accounts.used(key, _MONTH, at),
            {each.seconds: each.amount for each in self.accounts.windows(key)},
        )
        return json_response(
            {
                "plan": "Analyst",
                "rate_limit_request_per_minute": windows[60],
                "monthly_call_credit": windows[_MONTH],
                "current_total_monthly_calls": used,
                "current_remaining_monthly_calls": max(0, windows[_MONTH] - used),
            }
        )

    def _named(self, request: Request) -> Instrument:
        found = self.carried().get(request.path_params["id"])
        if found is None:
            raise Refused(json_response({"error": "coin not found"}, 404))
        return found

    def _asked(self, request: Request) -> list[Instrument]:
        carried = self.carried()
        names = [name for name in request.query_params.get("ids", "").split(",") if name]
        symbols = [name.upper() for name in request.query_params.get("symbols", "").split(",") if name]
        if not names and not symbols:
            return list(carried.values())
        return [each for name, each in carried.items() if name in names or each.symbol in symbols]

    def _rate(self, request: Request) -> tuple[str, float]:
        """The asked currency and what a US dollar is worth in it."""
        currency = _mandatory(request, "vs_currency").lower()
        rate = documents.rate(self.market, currency)
        if rate is None:
            raise Refused(json_response({"error": "invalid vs_currency"}, 400))
        return currency, rate

    def _simple_price(self, request: Request) -> Response:
        query = request.query_params
        currencies = _mandatory(request, "vs_currencies").lower().split(",")
        if not query.get("ids") and not query.get("symbols"):
            raise Refused(json_response({"error": "Missing parameter ids"}, 422))
        body, origin = documents.simple_price(self.market, self._asked(request), currencies, dict(query))
        return json_response(body, headers={ORIGIN_HEADER: origin})

    def _markets(self, request: Request) -> Response:
        query = request.query_params
        _, rate = self._rate(request)
        size, page = _number(query.get("per_page"), 100), _number(query.get("page"), 1)
        size = min(max(size, 1), _LARGEST_PAGE)
        rows, origin = documents.markets(self.market, self._asked(request), rate, dict(query))
        return json_response(rows[(page - 1) * size : page * size], headers={ORIGIN_HEADER: origin})

    def _list(self, request: Request) -> Response:
        platforms: dict[str, dict[str, str]] = (
            {"platforms": {}} if request.query_params.get("include_platform") == "true" else {}
        )
        rows = [
            {"id": name, "symbol": each.symbol.lower(), "name": each.name, **platforms}
            for name, each in self.carried().items()
        ]
        return json_response(sorted(rows, key=lambda row: str(row["id"])))

    def _coin(self, request: Request) -> Response:
        return json_response(documents.coin(self.market, self._named(request)))

    def _days(self, request: Request) -> float | None:
        """How many days back, None for all there are; further than the plan goes is refused."""
        asked = _mandatory(request, "days")
        if asked != "max" and not asked.isdigit():
            raise Refused(json_response({"error": "Invalid days parameter"}, 400))
        days = None if asked == "max" else float(asked)
        self._check_span(request, days)
        return days

    def _check_span(self, request: Request, days: float | None) -> None:
        if not self.paid(request) and (days is None or days > _DEMO_DAYS):
            words = (
                "Your request exceeds the allowed time range. Public API users are limited to querying historical data "
                "within the past 365 days. Upgrade to a paid plan to enjoy full historical data access: "
                f"{_PRICING}."
            )
            status = {"timestamp": documents.stamp(self.market.now()), "error_code": 10012, "error_message": words}
            raise Refused(json_response({"error": {"status": status}}, 401))

    def _ohlc(self, request: Request) -> Response:
        instrument, (_, rate) = self._named(request), self._rate(request)
        days, daily = self._days(request), request.query_params.get("interval") == "daily"
        if request.query_params["days"] not in _OHLC_DAYS:
            raise Refused(json_response({"error": "Invalid days parameter"}, 400))
        if daily:
            self.require_paid(request)
        rows, origin = documents.ohlc(self.market, instrument, days, daily, rate)
        return json_response(rows, headers={ORIGIN_HEADER: origin})

    def _market_chart(self, request: Request) -> Response:
        instrument, (_, rate) = self._named(request), self._rate(request)
        days, now = self._days(request), self.market.now()
        first = 0.0 if days is None else now - days * _DAY
        daily = request.query_params.get("interval") == "daily"
        body, origin = documents.market_chart(self.market, instrument, first, now, daily, rate)
        return json_response(body, headers={ORIGIN_HEADER: origin})

    def _market_chart_range(self, request: Request) -> Response:
        instrument, (_, rate) = self._named(request), self._rate(request)
        first, last = (_number(_mandatory(request, name), 0) for name in ("from", "to"))
        # The vendor forgives the hours that pass while somebody asks for the last 365 days.
        self._check_span(request, (self.market.now() - first) / _DAY - 1)
        body, origin = documents.market_chart(self.market, instrument, first, last, False, rate)
        return json_response(body, headers={ORIGIN_HEADER: origin})


def _demo_key(request: Request) -> str | None:
    return request.headers.get("x-cg-demo-api-key") or request.query_params.get("x_cg_demo_api_key") or None


def _pro_key(request: Request) -> str | None:
    return request.headers.get("x-cg-pro-api-key") or request.query_params.get("x_cg_pro_api_key") or None


def _mandatory(request: Request, name: str) -> str:
    value = request.query_params.get(name, "")
    if not value:
        raise Refused(json_response({"error": f"Missing parameter {name}"}, 422))
    return value


def _number(text: str | None, otherwise: int) -> int:
    return int(float(text)) if text and text.replace(".", "", 1).isdigit() else otherwise
