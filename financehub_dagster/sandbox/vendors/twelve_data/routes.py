"""Twelve Data as its users meet it: one symbol answered bare, several by name, a credit each, and errors in successes.

Belongs here: endpoints, parameters, limits and refusals. Does not belong here: the documents (documents).
Endpoints and shapes follow the vendor's OpenAPI description (twelvedata.com/docs); the texts are the ones its users
report.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, override
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.market.history import common_origin
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import RateWindow
from financehub_dagster.sandbox.vendors.twelve_data import documents
from financehub_dagster.sandbox.vendors.vendor import (
    ORIGIN_HEADER,
    Endpoint,
    Identity,
    Quirk,
    Refused,
    Situation,
    json_response,
    quirk_of,
)

_DAY = 86_400
#: Credits a minute and a day on Basic, a minute on Grow (twelvedata.com/pricing).
BASIC = (
    RateWindow(60, 8, aligned=True, weighted=True, counts_refused=True),
    RateWindow(_DAY, 800, aligned=True, weighted=True),
)
GROW = (RateWindow(60, 377, aligned=True, weighted=True, counts_refused=True),)
_MOST_SYMBOLS = 120
_MOST_ROWS = 5000
_CUSTOMERS_ONLY = ("statistics", "profile", "dividends", "splits", "earnings")
_STATISTICS_CREDITS = 50
_PRICING = "https://twelvedata.com/pricing"
_REFERENCE = "https://twelvedata.com/docs#reference-data"

Member = Callable[[Instrument, dict[str, str], Quirk | None], tuple[dict[str, Any], str]]


class TwelveData(KeyedVendor):
    """Time series, quotes, prices and closes of stocks, funds and cryptos, and the account's usage."""

    name = "twelve_data"
    plans = (BASIC, GROW)
    quirks: tuple[Quirk, ...] = ("exchange_time",)
    situations = ("bad_key", "burst", "day_quota", "not_in_plan", "unknown_symbol")
    statuses = {401: "bad_key", 403: "not_in_plan", 404: "unknown_symbol", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The endpoints, of which the fundamentals are for customers only."""
        batches: dict[str, Member] = {
            "/time_series": self._series,
            "/quote": self._quote,
            "/price": self._price,
            "/eod": self._close,
        }
        return {
            **{path: self._each(member) for path, member in batches.items()},
            **{f"/{name}": self._fundamentals for name in _CUSTOMERS_ONLY},
            "/api_usage": self._usage,
            "/stocks": lambda _: json_response(documents.stocks(self.carried())),
        }

    @override
    def key_of(self, request: Request) -> str | None:
        """`Authorization: apikey KEY`, or the query."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return (key.strip() if scheme.lower() == "apikey" else "") or request.query_params.get("apikey") or None

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """`symbol`, of which there may be several."""
        return _names(request)

    @override
    def weight_of(self, request: Request) -> int:
        """A credit per symbol, more for the statistics, nothing for what the plan does not include."""
        endpoint = request.url.path.rsplit("/", 1)[-1]
        if endpoint in _CUSTOMERS_ONLY:
            return _STATISTICS_CREDITS if self.paid(request) else 0
        return max(1, len(_names(request)))

    @override
    def spelling(self, instrument: Instrument) -> str:
        """Cryptos are pairs with a slash."""
        return documents.name_of(instrument)

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """A code and a message; for this vendor the credits asked for count as used."""
        free = f"You can get your free API key instantly following this link: {_PRICING}."
        contact = (
            "If you believe that everything is correct, you can contact us at https://twelvedata.com/contact/customer"
        )
        texts = {
            "bad_key": (401, f"**apikey** parameter is incorrect or not specified. {free} {contact}"),
            "not_in_plan": (403, _exclusive("/statistics")),
            "unknown_symbol": (404, _unknown_alone()),
        }
        if name in texts:
            return _error(*texts[name])
        seconds, period, unit = (60, "the current minute", "minute") if name == "burst" else (_DAY, "the day", "day")
        limits = {window.seconds: window.amount for window in self.accounts.windows(identity.key)}
        limit = limits.get(seconds, 800)
        used = self.accounts.used(identity.key, seconds, at) if seconds in limits else limit
        used = max(used if name == "burst" else used + identity.weight, limit + 1)
        words = (
            f"You have run out of API credits for {period}. {used} API credits were used, with the current limit being"
        )
        wait = f"Wait for the next {unit} or consider switching to a higher tier plan at {_PRICING}"
        return _error(429, f"{words} {limit}. {wait}")

    @override
    def headers(self, identity: Identity, at: float) -> dict[str, str]:
        """The minute's credits, on every answer to a valid key."""
        if identity.key is None or not self.accounts.valid(identity.key):
            return {}
        used, limit = self.accounts.used(identity.key, 60, at), self.accounts.window(identity.key, 60).amount
        return {"api-credits-used": str(used), "api-credits-left": str(max(0, limit - used))}

    def _each(self, member: Member) -> Callable[[Request], Response]:
        """An endpoint that answers one symbol with `member`, several by name with the errors among them."""

        def endpoint(request: Request) -> Response:
            names, carried, query = _names(request), self.carried(), dict(request.query_params)
            quirk = quirk_of(request)
            if not names:
                raise Refused(_error(400, f"There is an error in the query. {_unknown_alone()}"))
            if len(names) > _MOST_SYMBOLS:
                raise Refused(
                    _error(414, f"You have passed too many symbols; the limit is {_MOST_SYMBOLS} per request.")
                )
            if len(names) == 1:
                if names[0] not in carried:
                    raise Refused(self.situation("unknown_symbol", self.identify(request), 0.0))
                body, origin = member(carried[names[0]], query, quirk)
                return json_response(body, body.get("code", 200), {ORIGIN_HEADER: origin})
            members = {
                name: member(carried[name], query, quirk) if name in carried else (_unknown(name), "none")
                for name in names
            }
            headers = {ORIGIN_HEADER: common_origin(origin for _, origin in members.values())}
            return json_response({name: body for name, (body, _) in members.items()}, headers=headers)

        return endpoint

    def _series(self, instrument: Instrument, query: dict[str, str], quirk: Quirk | None) -> tuple[dict[str, Any], str]:
        interval = query.get("interval", "")
        if interval not in documents.INTERVALS:
            raise Refused(_error(400, _parameter("interval", interval, "one of " + ", ".join(documents.INTERVALS))))
        zone = _zone(query.get("timezone", "Exchange"), instrument)
        first, last = _moment(query, "start_date", zone), _moment(query, "end_date", zone)
        size = query.get("outputsize", str(_MOST_ROWS if first or last else 30))
        if not size.isdigit() or not 1 <= int(size) <= _MOST_ROWS:
            raise Refused(_error(400, _parameter("outputsize", size, f"a number from 1 to {_MOST_ROWS}")))
        labels = ZoneInfo(instrument.timezone) if quirk == "exchange_time" else zone
        order, decimals = query.get("order", "desc"), _decimals(query)
        asked = documents.SeriesRequest(interval, first, last, int(size), zone, labels, order, decimals)
        adjust = query.get("adjust", "splits")
        if adjust not in ("splits", "none", "all", "dividends"):
            raise Refused(_error(400, _parameter("adjust", adjust, "one of all, splits, dividends, none")))
        found = documents.time_series(self.market, instrument, asked, unadjusted=adjust in ("none", "dividends"))
        if isinstance(found, str):
            return _member(400 if "No data" in found else 501, found), "none"
        return found

    def _quote(self, instrument: Instrument, query: dict[str, str], _: Quirk | None) -> tuple[dict[str, Any], str]:
        return documents.quote(self.market, instrument, _decimals(query)) or (_no_data(), "none")

    def _price(self, instrument: Instrument, query: dict[str, str], _: Quirk | None) -> tuple[dict[str, Any], str]:
        return documents.price(self.market, instrument, _decimals(query)) or (_no_data(), "none")

    def _close(self, instrument: Instrument, query: dict[str, str], _: Quirk | None) -> tuple[dict[str, Any], str]:
        return documents.end_of_day(self.market, instrument, _decimals(query)) or (_no_data(), "none")

    def _fundamentals(self, request: Request) -> Response:
        path = f"/{request.url.path.rsplit('/', 1)[-1]}"
        if not self.paid(request):
            raise Refused(_error(403, _exclusive(path)))
        if path != "/statistics":
            raise Refused(_error(501, f"The sandbox has no {path} of this vendor; ask for /statistics."))
        names, carried = _names(request), self.carried()
        found = documents.statistics(self.market, carried[names[0]]) if names and names[0] in carried else None
        if found is None:
            raise Refused(self.situation("unknown_symbol", Identity(), 0.0))
        return json_response(found)

    def _usage(self, request: Request) -> Response:
        """The account, this call included."""
        key, at = self.key_of(request), time.time()
        limits = {window.seconds: window.amount for window in self.accounts.windows(key)}
        body = {
            "timestamp": f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}",
            "current_usage": self.accounts.used(key, 60, at),
            "plan_limit": limits[60],
        }
        if _DAY in limits:
            body |= {"daily_usage": self.accounts.used(key, _DAY, at), "plan_daily_limit": limits[_DAY]}
        return json_response(body | {"plan_category": "grow" if self.paid(request) else "basic"})


def _names(request: Request) -> list[str]:
    return [name.strip().upper() for name in request.query_params.get("symbol", "").split(",") if name.strip()]


def _zone(name: str, instrument: Instrument) -> ZoneInfo:
    try:
        return ZoneInfo(instrument.timezone if name == "Exchange" else name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Refused(_error(400, _parameter("timezone", name, "Exchange, UTC or an IANA name"))) from None


def _moment(query: dict[str, str], name: str, zone: ZoneInfo) -> float | None:
    """A date or time in `zone` as UTC epoch seconds."""
    text = query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(_error(400, _parameter(name, text, "a date as 2006-01-02 or 2006-01-02 15:04:05"))) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _decimals(query: dict[str, str]) -> int:
    """Places after the point: `dp` from 0 to 11, five otherwise."""
    places = query.get("dp", "5")
    return min(int(places), 11) if places.isdigit() else 5


def _parameter(name: str, value: str, legal: str) -> str:
    return f"Invalid **{name}** provided: {value}. Supported: {legal}."


def _unknown(name: str) -> dict[str, Any]:
    words = f"**symbol** not found: {name}. Please specify it correctly according to API Documentation."
    return _member(400, words)


def _unknown_alone() -> str:
    words = "**symbol** or **figi** parameter is missing or invalid. Please provide a valid symbol according to API"
    return f"{words} documentation: {_REFERENCE}"


def _exclusive(path: str) -> str:
    plans = "grow or pro or ultra or venture or enterprise plans"
    return f"{path} is available exclusively with {plans}. Consider upgrading your API Key now at {_PRICING}"


def _no_data() -> dict[str, Any]:
    return _member(400, documents.NO_DATA)


def _member(code: int, words: str) -> dict[str, Any]:
    return {"code": code, "message": words, "status": "error"}


def _error(code: int, words: str) -> Response:
    return json_response(_member(code, words), code)
