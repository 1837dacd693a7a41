"""Binance spot market data as python-binance meets it: klines, the tickers of all pairs, exchange information, weights.

Belongs here: the REST interface without orders and accounts, its limits, refusals and documents. Does not belong here:
the market's figures (`sandbox.market`), and the files that stand beside the interface (`bulk_files`). Endpoints,
weights, error codes and messages follow github.com/binance/binance-spot-api-docs (rest-api.md, errors.md, enums.md).
Prices and quantities are strings of eight decimals, times are epoch milliseconds, a bar closes one millisecond before
the next opens.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, override

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.continuation import price_decimals
from financehub_dagster.sandbox.market.history import History, common_origin
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import Floats, Prices
from financehub_dagster.sandbox.vendors.accounts import Accounts
from financehub_dagster.sandbox.vendors.binance import bulk_files
from financehub_dagster.sandbox.vendors.limits import RateWindow
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

#: Every interval of the vendor in seconds; the calendar ones (1w, 1M) have no fixed phase and are not simulated.
INTERVALS = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400,
    "6h": 21_600, "8h": 28_800, "12h": 43_200, "1d": 86_400, "3d": 259_200, "1w": 604_800, "1M": 2_592_000,
}  # fmt: skip
#: Request weights of rest-api.md, a ticker that of all pairs; everything else weighs 1.
WEIGHTS = {"klines": 2, "exchangeInfo": 20, "24hr": 80}
WEIGHT = RateWindow(60, 6000, aligned=True, weighted=True, counts_refused=True)
#: Refused requests in one minute after which the address is banned, and the length of the shortest ban.
_REFUSALS = RateWindow(60, 10, aligned=True)
_BAN_SECONDS = 120
_SYMBOL_RANGE = r"^[A-Z0-9-_.]{1,20}$"
_NUMBER_RANGE = r"^[0-9]{1,20}$"
_MAX_KLINES = 1000
_DEFAULT_KLINES = 500
_QUOTE_ASSET = "USDT"
_VOLUME_PER_TRADE = 1e-3
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
_PAGES = {403: _PAGE.format("403 Forbidden"), 502: _PAGE.format("502 Bad Gateway")}


class Binance(Vendor):
    """Public market data; weight is counted per address, and bulk files have none."""

    name = "binance"
    prefix = "/api/v3"
    plans = ((WEIGHT,),)
    quirks: tuple[Quirk, ...] = ("microseconds", *bulk_files.QUIRKS)
    situations = ("burst", "banned", "unknown_symbol")

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._refused = Accounts((_REFUSALS,))
        self._banned_until = 0.0

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What a provider asks."""
        return {
            "/ping": lambda _: json_response({}),
            "/exchangeInfo": self._exchange_info,
            "/klines": self._klines,
            "/ticker/24hr": self._tickers,
        }

    @property
    @override
    def routes(self) -> Sequence[BaseRoute]:
        """The interface, and the bulk files beside it."""
        return [*super().routes, Route(bulk_files.PATH, self.answering(self._bulk_file))]

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """`symbol`, or the pair in the path of a bulk file."""
        return [bulk_files.pair_of(request.url.path) or request.query_params.get("symbol", "")]

    @override
    def weight_of(self, request: Request) -> int:
        """The documented one."""
        if bulk_files.pair_of(request.url.path) is not None:
            return 0
        return WEIGHTS.get(request.url.path.rsplit("/", 1)[-1], 1)

    @override
    def carries(self, instrument: Instrument) -> bool:
        """Pairs with an alias here."""
        return self.name in instrument.aliases

    @override
    def admit(self, identity: Identity, at: float) -> Response | None:
        """6,000 weight per UTC minute; 429 above, 418 for two minutes for those who go on regardless."""
        if not identity.weight:
            return None
        if at < self._banned_until:
            return self.refusal(418, int(self._banned_until - at) + 1)
        refusal = super().admit(identity, at)
        if refusal is not None and self._refused.admit(None, 1, at):
            self._banned_until = at + _BAN_SECONDS
            return self.refusal(418, _BAN_SECONDS)
        return refusal

    @override
    def headers(self, identity: Identity, at: float) -> dict[str, str]:
        """The used weight, on every answer of the interface."""
        if not identity.weight:
            return {}
        used = str(self.accounts.used(None, WEIGHT.seconds, at))
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}

    @override
    def refusal(self, status: int, retry_after: int | None) -> Response:
        """403 and 502 are pages of what stands before it, everything else a code and a message."""
        headers = retry_headers(retry_after)
        if status in _PAGES:
            return Response(_PAGES[status], status, headers, "text/html")
        until = int((self.market.now() + (_BAN_SECONDS if retry_after is None else retry_after)) * 1000)
        limit = self.accounts.window(None, WEIGHT.seconds).amount
        restricted = "Service unavailable from a restricted location according to 'b. Eligibility' in our terms."
        code, message = {
            418: (-1003, f"Way too much request weight used; IP banned until {until}."),
            429: (-1003, f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."),
            451: (0, restricted),
            503: (-1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
            504: (-1007, "Timeout waiting for response from backend server."),
        }.get(status, (-1000, "An unknown error occurred while processing the request."))
        return _error(status, code, message, headers)

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """429 to the end of the minute, then 418; -1121 for a symbol that does not trade."""
        if name == "unknown_symbol":
            return _error(400, -1121, "Invalid symbol.")
        return self.refusal(418, _BAN_SECONDS) if name == "banned" else self.refusal(429, 60 - int(at % 60))

    @override
    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """`calls` is the weight per minute; the window is always the minute. None: the vendor's own."""
        super().limit(calls, WEIGHT.seconds)

    @override
    def reset(self) -> None:
        """Nothing used, nobody banned, the vendor's own limit."""
        super().reset()
        self._refused.reset()
        self._banned_until = 0.0

    def _klines(self, request: Request) -> Response:
        """With `startTime` the oldest bars from there on, else the latest up to `endTime`, both included."""
        name, interval = _mandatory(request, "symbol"), _mandatory(request, "interval")
        if not re.match(_SYMBOL_RANGE, name):
            raise _illegal("symbol", _SYMBOL_RANGE)
        instrument = self.carried().get(name)
        if instrument is None:
            raise Refused(self.situation("unknown_symbol", Identity(), 0.0))
        if interval not in INTERVALS:
            raise Refused(_error(400, -1120, "Invalid interval."))
        start, end, limit = (_number(request, each) for each in ("startTime", "endTime", "limit"))
        limit = min(_DEFAULT_KLINES if limit is None else limit, _MAX_KLINES)
        if interval == "1d":
            history = self.market.daily(instrument, self.name)
            history = _chosen(history, start, end, limit)
            rows, origin = _kline_rows(history, history.opens, INTERVALS[interval]), history.origin
        elif INTERVALS["1m"] <= INTERVALS[interval] < INTERVALS["1d"]:
            earliest, latest = (
                (0 if start is None else start / 1000),
                (self.market.now() if end is None else end / 1000),
            )
            bars = self.market.intraday(
                instrument, INTERVALS[interval], earliest, latest, vendor=self.name, limit=limit, newest=start is None
            )
            rows, origin = _kline_rows(bars, bars.open_time, INTERVALS[interval]), bars.origin
        else:
            raise Refused(_error(501, -1000, f"The sandbox has no {interval} bars of {name}; ask for 1d."))
        if quirk_of(request) == "microseconds":
            rows = [[row[0] * 1000, *row[1:6], row[6] * 1000 + 999, *row[7:]] for row in rows]
        return json_response(rows, headers={ORIGIN_HEADER: origin})

    def _bulk_file(self, request: Request) -> Response:
        """Of intervals below a day."""

        def klines(pair: str, interval: str, first: float, last: float) -> tuple[list[list[Any]], str]:
            instrument, seconds = self.carried().get(pair), INTERVALS.get(interval, 0)
            if instrument is None or not seconds:
                return [], "none"
            if not INTERVALS["1m"] <= seconds < INTERVALS["1d"]:
                raise Refused(_error(501, -1000, f"The sandbox has no files of {interval} bars."))
            bars = self.market.intraday(instrument, seconds, first, last, vendor=self.name)
            return _kline_rows(bars, bars.open_time, seconds), bars.origin

        return bulk_files.answer(request, klines, self.market.now())

    def _tickers(self, request: Request) -> Response:
        """Of type MINI; the sandbox's day is the running UTC day."""
        if request.query_params.get("type") != "MINI":
            raise Refused(_error(501, -1000, "The sandbox has only tickers of type MINI."))
        histories = self._histories(request)
        rows = [_mini_ticker(name, history, self.market.now()) for name, history in histories.items()]
        origin = common_origin(history[-1:].origin for history in histories.values())
        return json_response(rows, headers={ORIGIN_HEADER: origin})

    def _exchange_info(self, request: Request) -> Response:
        limit = self.accounts.window(None, WEIGHT.seconds).amount
        body = {
            "timezone": "UTC",
            "serverTime": int(self.market.now() * 1000),
            "rateLimits": _rate_limits(limit),
            "exchangeFilters": [],
            "symbols": [_symbol_information(name, history) for name, history in self._histories(request).items()],
        }
        return json_response(body)

    def _histories(self, request: Request) -> dict[str, History]:
        """The days of every pair that trades by now."""
        if {"symbol", "symbols"} & request.query_params.keys():
            raise Refused(_error(501, -1000, "The sandbox answers this for all symbols at once only."))
        histories = {name: self.market.daily(each) for name, each in self.carried().items()}
        return {name: history for name, history in histories.items() if len(history)}


def _chosen(history: History, start: int | None, end: int | None, limit: int) -> History:
    """The days that open from `start` to `end` (ms): with `start` the oldest, otherwise the latest."""
    first = 0 if start is None else int(np.searchsorted(history.opens, start / 1000, side="left"))
    last = len(history) if end is None else int(np.searchsorted(history.opens, end / 1000, side="right"))
    return history[max(first, last - limit) : last] if start is None else history[first : min(last, first + limit)]


def _kline_rows(bars: Prices, opens: NDArray[np.int64], seconds: int) -> list[list[Any]]:
    """Turnover, trades and taker shares are derived from the bar: nobody recorded them."""
    turnover = bars.volume * (bars.high + bars.low + bars.close) / 3
    trades = np.nan_to_num(np.ceil(turnover * _VOLUME_PER_TRADE)).astype(np.int64)
    rows = zip(
        (opens * 1000).tolist(),
        _strings(bars.open),
        _strings(bars.high),
        _strings(bars.low),
        _strings(bars.close),
        _strings(bars.volume),
        (opens * 1000 + seconds * 1000 - 1).tolist(),
        _strings(turnover),
        trades.tolist(),
        _strings(bars.volume / 2),
        _strings(turnover / 2),
        strict=True,
    )
    return [[*row, "0"] for row in rows]


def _strings(values: Floats) -> list[str]:
    return [f"{value:.8f}" for value in values.tolist()]


def _mini_ticker(name: str, history: History, now: float) -> dict[str, Any]:
    (row,) = _kline_rows(history[-1:], history.opens[-1:], INTERVALS["1d"])
    return {
        "symbol": name,
        "openPrice": row[1],
        "highPrice": row[2],
        "lowPrice": row[3],
        "lastPrice": row[4],
        "volume": row[5],
        "quoteVolume": row[7],
        "openTime": row[0],
        "closeTime": int(min(now, history.closes[-1]) * 1000),
        "firstId": 0,
        "lastId": row[8] - 1,
        "count": row[8],
    }


def _symbol_information(name: str, history: History) -> dict[str, Any]:
    """One member of exchangeInfo's symbols."""
    price = float(history.close[-1])
    decimals = price_decimals(AssetType.CRYPTO, price) if price > 0 else 8
    tick = f"{10.0**-decimals:.8f}"
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": name.removesuffix(_QUOTE_ASSET),
        "baseAssetPrecision": 8,
        "quoteAsset": _QUOTE_ASSET,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _rate_limits(weight_per_minute: int) -> list[dict[str, Any]]:
    """The rateLimits of exchangeInfo, as the vendor's REST documentation lists them."""
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": weight_per_minute},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
    ]


def _mandatory(request: Request, name: str) -> str:
    value = request.query_params.get(name, "")
    if not value:
        message = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        raise Refused(_error(400, -1102, message))
    return value


def _number(request: Request, name: str) -> int | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    if not re.match(_NUMBER_RANGE, value):
        raise _illegal(name, _NUMBER_RANGE)
    return int(value)


def _illegal(name: str, legal: str) -> Refused:
    words = f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    return Refused(_error(400, -1100, words))


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return json_response({"code": code, "msg": message}, status, headers)
