"""CoinGecko as its users meet it, with a Demo key, a Pro key or none.

Belongs here: endpoints, parameters, limits, refusals and documents. Does not belong here: the market's figures
(`sandbox.market`). Endpoints and shapes follow the vendor's OpenAPI description (coingecko/coingecko-api-oas), error
codes its page on errors and rate limits. Demo and Pro have hosts of their own at the vendor; here the header tells them
apart, and a key on a paid plan is a Pro key. Numbers are JSON numbers, prices in USD, times epoch seconds or ISO.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, override

import numpy as np
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
    retry_headers,
)

_MONTH = 2_592_000
#: www.coingecko.com/en/api/pricing; without a key some five calls a minute and address were seen to pass.
DEMO = (RateWindow(60, 30), RateWindow(_MONTH, 10_000, aligned=True))
PRO = (RateWindow(60, 500), RateWindow(_MONTH, 500_000, aligned=True))
KEYLESS = (RateWindow(60, 5),)
_PRICING = "https://www.coingecko.com/en/api/pricing"
_LARGEST_PAGE = 250


class CoinGecko(KeyedVendor):
    """Prices and markets of coins."""

    name = "coingecko"
    prefix = "/api/v3"
    plans = (DEMO, PRO, KEYLESS)
    serves_keyless = True
    situations = ("bad_key", "burst", "month_quota", "not_in_plan", "unknown_symbol")
    statuses = {401: "bad_key", 404: "unknown_symbol", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Those of both hosts."""
        return {
            "/ping": lambda _: json_response({"gecko_says": "(V3) To the Moon!"}),
            "/simple/price": self._simple_price,
            "/coins/markets": self._markets,
        }

    @override
    def key_of(self, request: Request) -> str | None:
        """The header of either host, or the query."""
        return _demo_key(request) or _pro_key(request)

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """`ids`."""
        return request.query_params.get("ids", "").split(",")

    @override
    def carries(self, instrument: Instrument) -> bool:
        """Cryptos with an id here; a symbol would not be unique."""
        return instrument.asset_type is AssetType.CRYPTO and self.name in instrument.aliases

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """A status object, or a text below `error`."""
        if name == "unknown_symbol":
            return json_response({"error": "coin not found"}, 404)
        if name == "not_in_plan":
            words = f"This request is limited to Pro API subscribers. Please visit {_PRICING}"
            return json_response({"status": {"error_code": 10005, "error_message": words}}, 401)
        if name == "bad_key":
            words = "API Key Missing. Please make sure you're using the right authentication method."
            status = {"timestamp": self._stamp(), "error_code": 10002, "error_message": words}
            return json_response({"status": status}, 401)
        visit = f"Please visit {_PRICING} to subscribe to our API plans for higher rate limits."
        if name == "month_quota":
            words = f"You've exceeded your monthly API call credits. {visit}"
            return json_response({"status": {"error_code": 429, "error_message": words}}, 429)
        words = f"You've exceeded the Rate Limit. {visit}"
        wait = max(1, round(self.accounts.resets_at(identity.key, 60, at) - at))
        return json_response({"status": {"error_code": 429, "error_message": words}}, 429, retry_headers(wait))

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self.market.now(), UTC).isoformat(timespec="milliseconds")

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
        status = {"timestamp": self._stamp(), "error_code": code, "status": {"error_message": words}}
        return json_response(status, 400)

    def _simple_price(self, request: Request) -> Response:
        """By coin id; neither an unknown coin nor an unknown currency has a member."""
        query, in_dollars = request.query_params, "usd" in _mandatory(request, "vs_currencies").lower().split(",")
        asked, carried = _mandatory(request, "ids").split(","), self.carried()
        found = coins(self.market, [each for name, each in carried.items() if name in asked])
        body: dict[str, dict[str, Any]] = {}
        for each in found:
            row = body.setdefault(self.spelling(each.instrument), {})
            if in_dollars:
                row["usd"] = _shown(each.price, query.get("precision"))
            if query.get("include_last_updated_at") == "true":
                row["last_updated_at"] = each.updated
        return json_response(body, headers={ORIGIN_HEADER: common_origin(each.origin for each in found)})

    def _markets(self, request: Request) -> Response:
        """The coins of `ids`, all without any, the largest first."""
        query, carried = request.query_params, self.carried()
        if _mandatory(request, "vs_currency").lower() != "usd":
            raise Refused(json_response({"error": "invalid vs_currency"}, 400))
        asked = query["ids"].split(",") if query.get("ids") else carried
        found = coins(self.market, [each for name, each in carried.items() if name in asked])
        size, page = _number(query.get("per_page"), 100), _number(query.get("page"), 1)
        size = min(max(size, 1), _LARGEST_PAGE)
        shown = found[(page - 1) * size : page * size]
        rows = [_market_row(each, query.get("precision")) for each in shown]
        return json_response(rows, headers={ORIGIN_HEADER: common_origin(each.origin for each in shown)})


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
    return int(text) if text and text.isdigit() else otherwise


def _shown(value: float, precision: str | None = None) -> float | int | None:
    """A price as the vendor rounds it: whole from 10,000 on, to cents from 1 on, else six digits; None for NaN."""
    if not np.isfinite(value):
        return None
    if precision == "full":
        return value
    if abs(value) >= 10_000:
        return round(value)
    return round(value, 2) if abs(value) >= 1 else float(f"{value:.6g}")


def _market_row(coin: Coin, precision: str | None) -> dict[str, Any]:
    cap_before = coin.day_ago * coin.circulating
    return {
        "id": coin.instrument.symbol_at("coingecko"),
        "symbol": coin.instrument.symbol.lower(),
        "name": coin.instrument.name,
        "image": f"https://coin-images.example.com/coins/images/{coin.rank}/large/{coin.instrument.symbol.lower()}.png",
        "current_price": _shown(coin.price, precision),
        "market_cap": _rounded(coin.market_cap),
        "market_cap_rank": coin.rank,
        "fully_diluted_valuation": _rounded(coin.fully_diluted),
        "total_volume": _rounded(coin.volume),
        "high_24h": _shown(coin.high, precision),
        "low_24h": _shown(coin.low, precision),
        "price_change_24h": coin.price - coin.day_ago,
        "price_change_percentage_24h": round(coin.changes["24h"], 5),
        "market_cap_change_24h": coin.market_cap - cap_before,
        "market_cap_change_percentage_24h": round(coin.changes["24h"], 5),
        "circulating_supply": coin.circulating,
        "total_supply": coin.total,
        "max_supply": coin.maximum,
        "ath": _shown(coin.highest[0]),
        "ath_change_percentage": round(100 * (coin.price / coin.highest[0] - 1), 5),
        "ath_date": iso(coin.highest[1]),
        "atl": _shown(coin.lowest[0]),
        "atl_change_percentage": round(100 * (coin.price / coin.lowest[0] - 1), 5),
        "atl_date": iso(coin.lowest[1]),
        "roi": None,
        "last_updated": iso(coin.updated),
    }


def _rounded(value: float) -> int | None:
    return round(value) if np.isfinite(value) else None
