"""CoinMarketCap as its users meet it: credits, and a status in every answer.

Belongs here: endpoints, parameters, limits, refusals and documents. Does not belong here: the market's figures
(`sandbox.market`). Endpoints, credits and error codes follow pro.coinmarketcap.com/api/documentation. Calls without a
key are served below /public-api. Numbers are JSON numbers, prices in USD, times ISO in UTC.
"""

import re
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, override

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.coins import Coin, coins, iso
from financehub_dagster.sandbox.market.history import common_origin
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import RateWindow
from financehub_dagster.sandbox.vendors.vendor import (
    ORIGIN_HEADER,
    Endpoint,
    Identity,
    Refused,
    Situation,
    json_response,
)

_DAY = 86_400
_MONTH = 2_592_000
_PUBLIC = "/public-api"
#: The Basic and the Startup plan: requests a minute, credits a month; a day's credits are counted and not limited.
_COUNTED_DAY = RateWindow(_DAY, sys.maxsize, aligned=True, weighted=True)
BASIC = (RateWindow(60, 30, aligned=True), RateWindow(_MONTH, 15_000, aligned=True, weighted=True), _COUNTED_DAY)
STARTUP = (RateWindow(60, 120, aligned=True), RateWindow(_MONTH, 300_000, aligned=True, weighted=True), _COUNTED_DAY)
KEYLESS = (RateWindow(60, 10, aligned=True),)
_QUOTES = "/v3/cryptocurrency/quotes/latest"
#: The vendor's id of the US dollar.
_USD_ID = 2781
_WORDS: dict[Situation, tuple[int, int, str]] = {
    "bad_key": (401, 1001, "This API Key is invalid."),
    "burst": (429, 1008, "You've exceeded your API Key's HTTP request rate limit. Rate limits reset every minute."),
    "day_quota": (429, 1009, "You've exceeded your API Key's daily rate limit."),
    "month_quota": (429, 1010, "You've exceeded your API Key's monthly rate limit."),
    "not_in_plan": (403, 1006, "Your API Key subscription plan doesn't support this endpoint."),
    "banned": (429, 1011, "You've hit an IP rate limit."),
    "unknown_symbol": (400, 400, 'Invalid value for "id": "0"'),
}


class CoinMarketCap(KeyedVendor):
    """Latest quotes and the account's usage."""

    name = "coinmarketcap"
    plans = (BASIC, STARTUP, KEYLESS)
    serves_keyless = True
    situations = tuple(_WORDS)
    statuses = {401: "bad_key", 403: "not_in_plan", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """With a key, and of quotes without one."""
        return {
            "/v1/key/info": self._info,
            _QUOTES: self._quotes,
            f"{_PUBLIC}{_QUOTES}": self._quotes,
        }

    @override
    def key_of(self, request: Request) -> str | None:
        """The header, or the query."""
        return request.headers.get("X-CMC_PRO_API_KEY") or request.query_params.get("CMC_PRO_API_KEY") or None

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """`id`."""
        return request.query_params.get("id", "").split(",")

    @override
    def weight_of(self, request: Request) -> int:
        """Credits: one per 100 coins."""
        return 0 if request.url.path.endswith("/info") else -(-len(list(self.symbols_of(request))) // 100)

    @override
    def carries(self, instrument: Instrument) -> bool:
        """Cryptos with an id here."""
        return instrument.asset_type is AssetType.CRYPTO and self.name in instrument.aliases

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """A status with one of the vendor's codes; a missing key has a code of its own."""
        status, code, words = _WORDS[name]
        if identity.key is None and name in ("bad_key", "burst"):
            code, words = (1002, "API key missing.") if name == "bad_key" else _WORDS["banned"][1:]
        return self._error(status, code, words)

    def _error(self, status: int, code: int, words: str) -> Response:
        return json_response({"status": status_of(self.market.now(), code, words, 0)}, status)

    @override
    def answering(self, answer: Endpoint) -> Endpoint:
        """A missing key is refused, and credits are given back for what came to nothing."""

        def accounted(request: Request) -> Response:
            key = self.key_of(request)
            try:
                if key is None and _PUBLIC not in request.url.path:
                    raise Refused(self.situation("bad_key", Identity(), self.market.now()))
                return answer(request)
            except Refused:
                self.accounts.refund(key, self.weight_of(request), time.time())
                raise

        return super().answering(accounted)

    def _answer(self, request: Request, data: Any, origin: str) -> Response:
        status = status_of(self.market.now(), 0, None, self.weight_of(request))
        return json_response({"status": status, "data": data}, headers={ORIGIN_HEADER: origin})

    def _quotes(self, request: Request) -> Response:
        """The coins of `id`; an unknown one fails the whole call unless it may be skipped."""
        query, carried = request.query_params, self.carried()
        asked = list(dict.fromkeys(query.get("id", "").split(",")))
        unknown = [name for name in asked if name not in carried]
        if unknown and query.get("skip_invalid", "false") != "true":
            values = f'Invalid values for "id": "{",".join(unknown)}"'
            raise Refused(self._error(400, 400, values if len(unknown) > 1 else values.replace("values", "value")))
        currency = query.get("convert", "USD")
        if currency != "USD":
            raise Refused(self._error(400, 400, f'Invalid value for "convert": "{currency}"'))
        found = coins(self.market, [carried[name] for name in asked if name in carried])
        return self._answer(request, [quote(each) for each in found], common_origin(each.origin for each in found))

    def _info(self, request: Request) -> Response:
        """The account: no credits, but one request of the minute, which is counted before it is shown."""
        key, at = self.key_of(request), time.time()
        used = {seconds: self.accounts.used(key, seconds, at) for seconds in (60, _DAY, _MONTH)}
        limits = {window.seconds: window.amount for window in self.accounts.windows(key)}
        reset = self.accounts.resets_at(key, _MONTH, at)
        info = key_info((limits[60], limits[_MONTH]), (used[60], used[_DAY], used[_MONTH]), at, reset)
        return self._answer(request, info, "none")


def status_of(now: float, code: int, words: str | None, credits_: int) -> dict[str, Any]:
    """The status of every answer."""
    return {
        "timestamp": iso(now),
        "error_code": code,
        "error_message": words,
        "elapsed": 10,
        "credit_count": credits_,
        "notice": None,
    }


def slug(instrument: Instrument) -> str:
    """The last part of a coin's address at the vendor."""
    return re.sub(r"[^a-z0-9]+", "-", instrument.name.lower()).strip("-")


def quote(coin: Coin) -> dict[str, Any]:
    """One coin of quotes/latest."""
    return {
        "id": int(coin.instrument.symbol_at("coinmarketcap")),
        "name": coin.instrument.name,
        "symbol": coin.instrument.symbol,
        "slug": slug(coin.instrument),
        "num_market_pairs": 12_000 // coin.rank,
        "date_added": iso(coin.first),
        "tags": [],
        "max_supply": coin.maximum,
        "circulating_supply": coin.circulating,
        "total_supply": coin.total,
        "infinite_supply": coin.maximum is None,
        "is_active": 1,
        "is_fiat": 0,
        "platform": None,
        "cmc_rank": coin.rank,
        "self_reported_circulating_supply": None,
        "self_reported_market_cap": None,
        "tvl_ratio": None,
        "last_updated": iso(coin.updated),
        "quote": [{"id": _USD_ID, "symbol": "USD", **_figures(coin)}],
    }


def _figures(coin: Coin) -> dict[str, Any]:
    return {
        "price": coin.price,
        "volume_24h": coin.volume,
        "volume_change_24h": 0.0,
        **{f"percent_change_{span}": coin.changes[span] for span in ("1h", "24h", "7d", "30d", "60d", "90d")},
        "market_cap": coin.market_cap,
        "market_cap_dominance": None,
        "fully_diluted_market_cap": coin.fully_diluted,
        "tvl": None,
        "last_updated": iso(coin.updated),
    }


def key_info(limits: tuple[int, int], counted: tuple[int, int, int], at: float, reset: float) -> dict[str, Any]:
    """The account's plan and usage: (requests per minute, credits per month), (requests, credits of day and month).

    at and reset, when the month ends, are UTC epoch seconds.
    """
    (minute, month), (made, today, used) = limits, counted
    hours, days = int((reset - at) // 3600) % 24, int((reset - at) // _DAY)
    return {
        "plan": {
            "credit_limit_monthly": month,
            "credit_limit_monthly_reset": f"In {days} days, {hours} hours and {int((reset - at) // 60) % 60} minutes",
            "credit_limit_monthly_reset_timestamp": iso(reset),
            "rate_limit_minute": minute,
        },
        "usage": {
            "current_minute": {"requests_made": made, "requests_left": max(0, minute - made)},
            "current_day": {"credits_used": today, "credits_left": None},
            "current_month": {"credits_used": used, "credits_left": max(0, month - used)},
        },
    }
