"""Binance spot market data as python-binance meets it: endpoints, parameters, weights, limits and refusals.

Belongs here: the REST interface. Does not belong here: the documents it answers with (documents). Endpoints,
weights, error codes and messages follow github.com/binance/binance-spot-api-docs (rest-api.md, errors.md, enums.md).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, override

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.market.history import History, common_origin
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.vendors.binance import documents
from financehub_dagster.sandbox.vendors.limits import FixedMinute
from financehub_dagster.sandbox.vendors.vendor import (
    ORIGIN_HEADER,
    Identity,
    Quirk,
    Situation,
    Vendor,
    json_response,
    quirk_of,
    retry_headers,
)

_SYMBOL_RANGE = r"^[A-Z0-9-_.]{1,20}$"
_NUMBER_RANGE = r"^[0-9]{1,20}$"
_SYMBOLS_RANGE = r"^\[(\"[A-Z0-9-_.]{1,20}\"(,\"[A-Z0-9-_.]{1,20}\"){0,}){0,1}\]$"
_MAX_KLINES = 1000
_DEFAULT_KLINES = 500
#: Refused requests in one minute after which the address is banned, and the length of the shortest ban.
_REFUSALS_BEFORE_BAN = 10
_BAN_SECONDS = 120
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
_PAGES = {403: _PAGE.format("403 Forbidden"), 502: _PAGE.format("502 Bad Gateway")}

Ticker = Callable[[str, History, float], dict[str, Any]]


@dataclass
class BinanceError(Exception):
    """A refusal with Binance's code and message."""

    status: int
    code: int
    message: str


class Binance(Vendor):
    """The spot REST interface without orders and accounts."""

    name = "binance"
    quirks: tuple[Quirk, ...] = ("microseconds",)
    situations = ("burst", "banned", "unknown_symbol")

    def __init__(self, market: Market) -> None:
        self._market = market
        self._minute = FixedMinute()
        self._refused = FixedMinute()
        self._banned_until = 0.0
        self._weight_limit = documents.WEIGHT_PER_MINUTE

    @property
    @override
    def routes(self) -> Sequence[BaseRoute]:
        """Public market data endpoints."""
        return [
            Route("/api/v3/ping", lambda _: json_response({})),
            Route("/api/v3/time", lambda _: json_response({"serverTime": int(self._market.now() * 1000)})),
            Route("/api/v3/exchangeInfo", self._answering(self._exchange_info)),
            Route("/api/v3/klines", self._answering(self._klines)),
            Route("/api/v3/ticker/24hr", self._answering(self._day_ticker)),
            Route("/api/v3/ticker/price", self._answering(self._price_ticker)),
            Route("/api/v3/ticker/bookTicker", self._answering(self._book_ticker)),
        ]

    @override
    def identify(self, request: Request) -> Identity:
        """Symbols of `symbol` and `symbols`, the X-MBX-APIKEY header, and the documented weight."""
        query = request.query_params
        asked = [query["symbol"]] if "symbol" in query else re.findall(r'"([^"]*)"', query.get("symbols", ""))
        known = {self._name(each): each.symbol for each in self._carried()}
        weight = _weight(request.url.path.rsplit("/", 1)[-1], query.get("symbol"), len(asked))
        return Identity(tuple(known.get(name, name) for name in asked), request.headers.get("X-MBX-APIKEY"), weight)

    @override
    def admit(self, identity: Identity, at: float) -> Response | None:
        """6,000 weight per UTC minute; 429 above, 418 for two minutes for those who go on regardless."""
        if at < self._banned_until:
            return self.refusal(418, int(self._banned_until - at) + 1)
        if self._minute.add(identity.weight, at) <= self._weight_limit:
            return None
        if self._refused.add(1, at) > _REFUSALS_BEFORE_BAN:
            self._banned_until = at + _BAN_SECONDS
            return self.refusal(418, _BAN_SECONDS)
        return self.refusal(429, 60 - int(at % 60))

    @override
    def headers(self, identity: Identity, at: float) -> dict[str, str]:
        """The used weight, on every answer."""
        used = str(self._minute.at(at))
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}

    @override
    def refusal(self, status: int, retry_after: int | None) -> Response:
        """403 and 502 are pages of what stands before it, everything else a code and a message."""
        headers = retry_headers(retry_after)
        if status in _PAGES:
            return Response(_PAGES[status], status, headers, "text/html")
        until = int((self._market.now() + (_BAN_SECONDS if retry_after is None else retry_after)) * 1000)
        restricted = "Service unavailable from a restricted location according to 'b. Eligibility' in our terms."
        code, message = {
            418: (-1003, f"Way too much request weight used; IP banned until {until}."),
            429: (
                -1003,
                f"Too much request weight used; current limit is {self._weight_limit} request weight per 1 MINUTE.",
            ),
            451: (0, restricted),
            503: (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
            504: (-1007, "Timeout waiting for response from backend server."),
        }.get(status, (-1000, "An unknown error occurred while processing the request."))
        return json_response({"code": code, "msg": message}, status, headers)

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """429 to the end of the minute, then 418; -1121 for a symbol that does not trade."""
        if name == "unknown_symbol":
            return json_response({"code": -1121, "msg": "Invalid symbol."}, 400)
        return self.refusal(418, _BAN_SECONDS) if name == "banned" else self.refusal(429, 60 - int(at % 60))

    @override
    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """`calls` is the weight per minute; the window is always the minute. None: the vendor's own."""
        self._weight_limit = documents.WEIGHT_PER_MINUTE if calls is None else calls

    @override
    def reset(self) -> None:
        """Nothing used, nobody banned, the vendor's own limit."""
        self._minute = FixedMinute()
        self._refused = FixedMinute()
        self._banned_until = 0.0
        self._weight_limit = documents.WEIGHT_PER_MINUTE

    def _carried(self) -> list[Instrument]:
        return [each for each in self._market.listed if self.name in each.aliases]

    def _name(self, instrument: Instrument) -> str:
        return instrument.symbol_at(self.name)

    def _answering(self, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            try:
                return answer(request)
            except BinanceError as error:
                return json_response({"code": error.code, "msg": error.message}, error.status)

        return endpoint

    def _find(self, name: str) -> Instrument:
        if not re.match(_SYMBOL_RANGE, name):
            raise _illegal("symbol", _SYMBOL_RANGE)
        for instrument in self._carried():
            if self._name(instrument) == name:
                return instrument
        raise BinanceError(400, -1121, "Invalid symbol.")

    def _asked(self, request: Request) -> tuple[list[Instrument], bool]:
        """The instruments of `symbol`, `symbols` or neither (all), and whether one object is wanted and not a list."""
        query = request.query_params
        if "symbol" in query and "symbols" in query:
            raise BinanceError(400, -1128, "Combination of optional parameters invalid.")
        if "symbol" in query:
            return [self._find(query["symbol"])], True
        if "symbols" not in query:
            return self._carried(), False
        if not re.match(_SYMBOLS_RANGE, query["symbols"]):
            raise _illegal("symbols", _SYMBOLS_RANGE)
        return [self._find(name) for name in orjson.loads(query["symbols"])], False

    def _klines(self, request: Request) -> Response:
        query = request.query_params
        instrument = self._find(_mandatory(request, "symbol"))
        interval = _mandatory(request, "interval")
        if interval not in documents.INTERVALS:
            raise BinanceError(400, -1120, "Invalid interval.")
        limit = _number(request, "limit")
        found = documents.klines(
            self._market,
            instrument,
            interval,
            _number(request, "startTime"),
            _number(request, "endTime"),
            min(_DEFAULT_KLINES if limit is None else limit, _MAX_KLINES),
        )
        if found is None:
            raise BinanceError(501, -1000, f"The sandbox has no {interval} bars of {query['symbol']}; ask for 1d.")
        rows, origin = found
        if quirk_of(request) == "microseconds":
            rows = [[row[0] * 1000, *row[1:6], row[6] * 1000 + 999, *row[7:]] for row in rows]
        return json_response(rows, headers={ORIGIN_HEADER: origin})

    def _day_ticker(self, request: Request) -> Response:
        mini = request.query_params.get("type", "FULL") == "MINI"
        return self._tickers(request, documents.mini_ticker if mini else documents.full_ticker)

    def _price_ticker(self, request: Request) -> Response:
        return self._tickers(request, documents.price_ticker)

    def _book_ticker(self, request: Request) -> Response:
        return self._tickers(request, documents.book_ticker)

    def _tickers(self, request: Request, ticker: Ticker) -> Response:
        instruments, single = self._asked(request)
        histories = [(self._name(each), self._market.daily(each)) for each in instruments]
        rows = [ticker(name, history, self._market.now()) for name, history in histories if len(history)]
        origin = common_origin(history[-1:].origin for _, history in histories)
        return json_response(rows[0] if single and rows else rows, headers={ORIGIN_HEADER: origin})

    def _exchange_info(self, request: Request) -> Response:
        instruments, _ = self._asked(request)
        histories = [(self._name(each), self._market.daily(each)) for each in instruments]
        return json_response(
            {
                "timezone": "UTC",
                "serverTime": int(self._market.now() * 1000),
                "rateLimits": documents.rate_limits(self._weight_limit),
                "exchangeFilters": [],
                "symbols": [documents.symbol_information(name, history) for name, history in histories if len(history)],
            }
        )


def _weight(endpoint: str, symbol: str | None, symbols: int) -> int:
    """Request weights of rest-api.md; a ticker of everything weighs most."""
    many = symbol is None and not symbols
    if endpoint == "24hr":
        return 80 if many or symbols > 100 else 40 if symbols > 20 else 2
    if endpoint in ("price", "bookTicker"):
        return 2 if symbol is not None else 4
    return {"klines": 2, "exchangeInfo": 20}.get(endpoint, 1)


def _mandatory(request: Request, name: str) -> str:
    value = request.query_params.get(name, "")
    if not value:
        raise BinanceError(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def _number(request: Request, name: str) -> int | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    if not re.match(_NUMBER_RANGE, value):
        raise _illegal(name, _NUMBER_RANGE)
    return int(value)


def _illegal(name: str, legal: str) -> BinanceError:
    return BinanceError(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
