"""CoinMarketCap as its users meet it: v3 with the shapes of v1 and v2 beside it, credits, and a status in every answer.

Belongs here: endpoints, parameters, limits, refusals and documents. Does not belong here: the market's figures
(`sandbox.market`). Endpoints, credits and error codes follow pro.coinmarketcap.com/api/documentation. Calls without a
key are served below /public-api. Numbers are JSON numbers, times ISO in UTC; v3 lists the quotes, v1 and v2 key them by
currency.
"""

import re
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, override

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.coins import Coin, coins, iso
from financehub_dagster.sandbox.market.companies import shares_of
from financehub_dagster.sandbox.market.history import common_origin
from financehub_dagster.sandbox.market.market import Market
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
#: The vendor's id of the US dollar, which quotes in v3 carry.
_USD_ID = 2781
_MOST_LISTINGS = 5000
_HISTORY_DAYS = 365
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
    """Latest quotes and listings, the id map, daily history and the account's usage."""

    name = "coinmarketcap"
    plans = (BASIC, STARTUP, KEYLESS)
    serves_keyless = True
    situations = tuple(_WORDS)
    statuses = {401: "bad_key", 403: "not_in_plan", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The endpoints with a key, and most of them without."""
        endpoints = {
            "/v3/cryptocurrency/quotes/latest": self._quotes,
            "/v2/cryptocurrency/quotes/latest": self._quotes,
            "/v1/cryptocurrency/quotes/latest": self._quotes,
            "/v3/cryptocurrency/listings/latest": self._listings,
            "/v1/cryptocurrency/listings/latest": self._listings,
            "/v1/cryptocurrency/map": self._map,
            "/v3/cryptocurrency/quotes/historical": self._history,
            "/v2/cryptocurrency/ohlcv/historical": self._ohlcv,
        }
        public = {f"{_PUBLIC}{path}": answer for path, answer in endpoints.items()}
        return {"/v1/key/info": self._info, **endpoints, **public}

    @override
    def key_of(self, request: Request) -> str | None:
        """The header, or the query."""
        return request.headers.get("X-CMC_PRO_API_KEY") or request.query_params.get("CMC_PRO_API_KEY") or None

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """`id`, else `symbol` and `slug`, which are told apart by what is carried."""
        query = request.query_params
        names = (query.get("id") or query.get("symbol") or query.get("slug") or "").split(",")
        ids = {each.symbol: name for name, each in self.carried().items()}
        return [ids.get(name.upper(), name) for name in names]

    @override
    def weight_of(self, request: Request) -> int:
        """Credits: one per 100 coins or 200 listings or 100 points, once more per further currency."""
        query, path = request.query_params, request.url.path
        currencies = max(1, len([name for name in query.get("convert", "USD").split(",") if name]))
        if path.endswith(("/map", "/info")):
            return 0
        if path.endswith("/listings/latest"):
            return -(-_number(query.get("limit"), 100) // 200) * currencies
        if path.endswith("/historical"):
            return -(-_number(query.get("count"), 10) // 100) * currencies
        return -(-max(1, len(list(self.symbols_of(request)))) // 100) * currencies

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

    def _asked(self, request: Request) -> list[Instrument]:
        """The coins of `id`, `slug` or `symbol`; an unknown one fails the whole call unless it may be skipped."""
        query, carried = request.query_params, self.carried()
        parameter = next((name for name in ("id", "slug", "symbol") if query.get(name)), None)
        if parameter is None:
            raise Refused(self._error(400, 400, '"value" must contain at least one of [id, symbol, slug]'))
        names = {
            "id": carried,
            "slug": {slug(each): each for each in carried.values()},
            "symbol": {each.symbol: each for each in carried.values()},
        }[parameter]
        asked = [name.upper() if parameter == "symbol" else name for name in query[parameter].split(",")]
        unknown = [name for name in asked if name not in names]
        if unknown and query.get("skip_invalid", "false") != "true":
            values = f'Invalid values for "{parameter}": "{",".join(unknown)}"'
            raise Refused(self._error(400, 400, values if len(unknown) > 1 else values.replace("values", "value")))
        return [names[name] for name in dict.fromkeys(asked) if name in names]

    def _rates(self, request: Request) -> dict[str, float]:
        """What a US dollar is worth in each asked currency."""
        found = {}
        for name in request.query_params.get("convert", "USD").upper().split(","):
            instrument = self.market.listed.get(name)
            if name != "USD" and (instrument is None or not self.carries(instrument)):
                raise Refused(self._error(400, 400, f'Invalid value for "convert": "{name}"'))
            found[name] = 1.0 if instrument is None else 1 / float(self.market.daily(instrument).close[-1])
        return found

    def _quotes(self, request: Request) -> Response:
        found, rates = coins(self.market, self._asked(request)), self._rates(request)
        version = request.url.path.removeprefix(request.scope.get("root_path", "")).removeprefix(_PUBLIC)[1:3]
        rows = [quote(each, rates, version) for each in found]
        data: Any = rows
        if version != "v3":
            by_symbol = "symbol" in request.query_params
            name = "symbol" if by_symbol else "id"
            data = {str(row[name]): [row] if by_symbol and version == "v2" else row for row in rows}
        return self._answer(request, data, common_origin(each.origin for each in found))

    def _listings(self, request: Request) -> Response:
        query, rates = request.query_params, self._rates(request)
        start, limit = _number(query.get("start"), 1), _number(query.get("limit"), 100)
        if not 1 <= limit <= _MOST_LISTINGS or start < 1:
            raise Refused(self._error(400, 400, f'"limit" must be between 1 and {_MOST_LISTINGS}'))
        found = coins(self.market, self.carried().values())[start - 1 : start - 1 + limit]
        version = "v3" if "/v3/" in request.url.path else "v1"
        return self._answer(
            request,
            [quote(each, rates, version) for each in found],
            common_origin(each.origin for each in found),
        )

    def _map(self, request: Request) -> Response:
        asked = [name for name in request.query_params.get("symbol", "").upper().split(",") if name]
        found = [
            each for each in coins(self.market, self.carried().values()) if not asked or each.instrument.symbol in asked
        ]
        rows = [map_row(each) for each in found]
        return self._answer(request, sorted(rows, key=lambda row: row["id"]), "none")

    def _history(self, request: Request) -> Response:
        """Daily points only; the Basic plan sees one year."""
        query = request.query_params
        if query.get("interval", "daily") not in ("daily", "1d", "24h"):
            raise Refused(self._error(501, 501, "The sandbox has no intraday history; ask for interval=daily."))
        now = self.market.now()
        last = self._time(request, "time_end", now)
        first = self._time(request, "time_start", last - _number(query.get("count"), 10) * _DAY)
        if now - first > (_HISTORY_DAYS + 1) * _DAY:
            self.require_paid(request)
        rows = [history(self.market, each, first, last) for each in self._asked(request)]
        return self._answer(request, {str(row["id"]): row for row in rows}, "mixed")

    def _ohlcv(self, request: Request) -> Response:
        """Not in the Basic plan; time_start is excluded, time_end included."""
        self.require_paid(request)
        last = self._time(request, "time_end", self.market.now())
        first = self._time(request, "time_start", last - _number(request.query_params.get("count"), 10) * _DAY)
        rows = [ohlcv(self.market, each, first, last) for each in self._asked(request)]
        return self._answer(request, {str(row["id"]): row for row in rows}, "mixed")

    def _time(self, request: Request, name: str, otherwise: float) -> float:
        text = request.query_params.get(name)
        if not text:
            return otherwise
        try:
            moment = datetime.fromtimestamp(float(text), UTC) if text.isdigit() else datetime.fromisoformat(text)
        except ValueError:
            raise Refused(self._error(400, 400, f'"{name}" must be a valid ISO 8601 or UNIX timestamp')) from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def _info(self, request: Request) -> Response:
        """The account: no credits, but one request of the minute, which is counted before it is shown."""
        key, at = self.key_of(request), time.time()
        used = {seconds: self.accounts.used(key, seconds, at) for seconds in (60, _DAY, _MONTH)}
        limits = {window.seconds: window.amount for window in self.accounts.windows(key)}
        reset = self.accounts.resets_at(key, _MONTH, at)
        info = key_info((limits[60], limits[_MONTH]), (used[60], used[_DAY], used[_MONTH]), at, reset)
        return self._answer(request, info, "none")


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdigit() else otherwise


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


def quote(coin: Coin, rates: Mapping[str, float], version: str) -> dict[str, Any]:
    """One coin of quotes/latest or listings/latest in v1, v2 or v3; rates are by currency, per US dollar."""
    quotes = {currency: _figures(coin, rate) for currency, rate in rates.items()}
    listed = [{"id": _USD_ID if name == "USD" else None, "symbol": name, **figures} for name, figures in quotes.items()]
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
        "quote": listed if version == "v3" else quotes,
    }


def _figures(coin: Coin, rate: float) -> dict[str, Any]:
    return {
        "price": coin.price * rate,
        "volume_24h": coin.volume * rate,
        "volume_change_24h": 0.0,
        **{f"percent_change_{span}": coin.changes[span] for span in ("1h", "24h", "7d", "30d", "60d", "90d")},
        "market_cap": coin.market_cap * rate,
        "market_cap_dominance": None,
        "fully_diluted_market_cap": coin.fully_diluted * rate,
        "tvl": None,
        "last_updated": iso(coin.updated),
    }


def map_row(coin: Coin) -> dict[str, Any]:
    """One coin of the id map."""
    return {
        "id": int(coin.instrument.symbol_at("coinmarketcap")),
        "rank": coin.rank,
        "name": coin.instrument.name,
        "symbol": coin.instrument.symbol,
        "slug": slug(coin.instrument),
        "is_active": 1,
        "first_historical_data": iso(coin.first),
        "last_historical_data": iso(coin.updated),
        "platform": None,
    }


def history(market: Market, instrument: Instrument, first: float, last: float) -> dict[str, Any]:
    """Daily quotes/historical: the first quote of each day from `first` to `last`, UTC epoch seconds."""
    bars = market.daily(instrument)
    rows = bars[(bars.opens >= first) & (bars.opens <= last)]
    supply = shares_of(instrument)
    quotes = [
        {
            "timestamp": iso(at),
            "quote": {
                "USD": {"price": price, "volume_24h": volume, "market_cap": price * supply, "timestamp": iso(at)}
            },
        }
        for at, price, volume in zip(
            rows.opens.tolist(), rows.open.tolist(), (rows.volume * rows.open).tolist(), strict=True
        )
    ]
    return {**_named(instrument), "quotes": quotes}


def ohlcv(market: Market, instrument: Instrument, first: float, last: float) -> dict[str, Any]:
    """Daily ohlcv/historical: the bars that close after `first` and not after `last`, UTC epoch seconds."""
    bars = market.daily(instrument)
    rows = bars[(bars.closes - 1 > first) & (bars.closes - 1 <= np.ceil(last / _DAY) * _DAY)]
    columns = (rows.opens, rows.open, rows.high, rows.low, rows.close, rows.volume * rows.close)
    supply = shares_of(instrument)
    quotes = []
    for at, open_, high, low, close, volume in zip(*(column.tolist() for column in columns), strict=True):
        end = f"{iso(at + _DAY - 1)[:-4]}999Z"
        figures = {
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "market_cap": close * supply,
        }
        quotes.append({"time_open": iso(at), "time_close": end, "quote": {"USD": {**figures, "timestamp": end}}})
    return {**_named(instrument), "quotes": quotes}


def _named(instrument: Instrument) -> dict[str, Any]:
    return {"id": int(instrument.symbol_at("coinmarketcap")), "name": instrument.name, "symbol": instrument.symbol}


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
