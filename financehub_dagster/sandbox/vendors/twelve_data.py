"""Twelve Data as its users meet it: one symbol answered bare, several by name, a credit each, and errors in successes.

Belongs here: endpoints, parameters, limits, refusals and documents. Does not belong here: the market's figures
(`sandbox.market`). Endpoints and shapes follow the vendor's OpenAPI description (twelvedata.com/docs); the texts are
the ones its users report. Numbers are strings, a bar is labelled by its open, the newest comes first; cryptos have no
volume.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from datetime import time as clock_time
from typing import Any, override
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.companies import company
from financehub_dagster.sandbox.market.history import History, common_origin
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.minutes import Bars
from financehub_dagster.sandbox.market.recordings import Floats
from financehub_dagster.sandbox.market.snapshot import Snapshot, snapshot
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import RateWindow
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

INTERVALS = {
    "1min": 60, "5min": 300, "15min": 900, "30min": 1800, "45min": 2700, "1h": 3600, "2h": 7200, "4h": 14_400,
    "8h": 28_800, "1day": 86_400, "1week": 604_800, "1month": 2_592_000,
}  # fmt: skip
_DAY = 86_400
#: Credits a minute and a day on Basic, a minute on Grow (twelvedata.com/pricing).
BASIC = (
    RateWindow(60, 8, aligned=True, weighted=True, counts_refused=True),
    RateWindow(_DAY, 800, aligned=True, weighted=True),
)
GROW = (RateWindow(60, 377, aligned=True, weighted=True, counts_refused=True),)
_MOST_SYMBOLS = 120
_MOST_ROWS = 5000
_STATISTICS_CREDITS = 50
_PRICING = "https://twelvedata.com/pricing"
_REFERENCE = "https://twelvedata.com/docs#reference-data"
_NO_DATA = "No data is available on the specified dates. Try setting different start/end dates."
_TYPES = {AssetType.ETF: "ETF", AssetType.INDEX: "Index"}
_WITHOUT_VOLUME = (AssetType.CRYPTO, AssetType.FX, AssetType.INDEX)
_EXCHANGES = {"XNAS": ("NASDAQ", "XNGS"), "XNYS": ("NYSE", "XNYS"), "ARCX": ("NYSE", "ARCX")}

#: The document about one instrument, and where its numbers come from.
Member = Callable[[Instrument, Request], tuple[dict[str, Any], str]]


class TwelveData(KeyedVendor):
    """Time series and quotes of stocks, funds, currencies and cryptos, statistics of companies, the account's usage."""

    name = "twelve_data"
    plans = (BASIC, GROW)
    quirks: tuple[Quirk, ...] = ("exchange_time",)
    situations = ("bad_key", "burst", "day_quota", "not_in_plan", "unknown_symbol")
    statuses = {401: "bad_key", 403: "not_in_plan", 404: "unknown_symbol", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What a provider asks."""
        return {
            "/time_series": self._each(self._series),
            "/quote": self._each(self._quote),
            "/statistics": self._statistics,
            "/api_usage": self._usage,
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
        if request.url.path.endswith("/statistics"):
            return _STATISTICS_CREDITS if self.paid(request) else 0
        return max(1, len(_names(request)))

    @override
    def spelling(self, instrument: Instrument) -> str:
        """Cryptos are pairs with a slash."""
        return _name_of(instrument)

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """A code and a message; for this vendor the credits asked for count as used."""
        free = f"You can get your free API key instantly following this link: {_PRICING}."
        contact = (
            "If you believe that everything is correct, you can contact us at https://twelvedata.com/contact/customer"
        )
        plans = "grow or pro or ultra or venture or enterprise plans"
        exclusive = (
            f"/statistics is available exclusively with {plans}. Consider upgrading your API Key now at {_PRICING}"
        )
        texts = {
            "bad_key": (401, f"**apikey** parameter is incorrect or not specified. {free} {contact}"),
            "not_in_plan": (403, exclusive),
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

    def _each(self, member: Member) -> Endpoint:
        """An endpoint that answers one symbol with `member`, several by name with the errors among them."""

        def endpoint(request: Request) -> Response:
            names, carried = _names(request), self.carried()
            if not names:
                raise Refused(_error(400, f"There is an error in the query. {_unknown_alone()}"))
            if len(names) > _MOST_SYMBOLS:
                words = f"You have passed too many symbols; the limit is {_MOST_SYMBOLS} per request."
                raise Refused(_error(414, words))
            if len(names) == 1:
                if names[0] not in carried:
                    raise Refused(self.situation("unknown_symbol", Identity(), 0.0))
                body, origin = member(carried[names[0]], request)
                return json_response(body, body.get("code", 200), {ORIGIN_HEADER: origin})
            members = {
                name: member(carried[name], request) if name in carried else (_unknown(name), "none") for name in names
            }
            headers = {ORIGIN_HEADER: common_origin(origin for _, origin in members.values())}
            return json_response({name: body for name, (body, _) in members.items()}, headers=headers)

        return endpoint

    def _series(self, instrument: Instrument, request: Request) -> tuple[dict[str, Any], str]:
        query = request.query_params
        interval = query.get("interval", "")
        if interval not in INTERVALS:
            raise Refused(_error(400, _parameter("interval", interval, "one of " + ", ".join(INTERVALS))))
        zone = _zone(query.get("timezone", "Exchange"), instrument)
        # A day is asked for by its date, whatever the zone.
        within = ZoneInfo("UTC") if interval == "1day" else zone
        first, last = _moment(request, "start_date", within), _moment(request, "end_date", within)
        size = query.get("outputsize", str(_MOST_ROWS if first or last else 30))
        if not size.isdigit() or not 1 <= int(size) <= _MOST_ROWS:
            raise Refused(_error(400, _parameter("outputsize", size, f"a number from 1 to {_MOST_ROWS}")))
        bars: History | Bars
        if interval == "1day":
            bars = _days(self.market.daily(instrument, self.name), first, last, int(size))
            labels = bars.date.astype(str).tolist()
        elif INTERVALS[interval] < INTERVALS["1day"]:
            span = (first or 0.0, last or self.market.now())
            bars = self.market.intraday(
                instrument, INTERVALS[interval], *span, vendor=self.name, limit=int(size), newest=True
            )
            clock = ZoneInfo(instrument.timezone) if quirk_of(request) == "exchange_time" else zone
            labels = [f"{datetime.fromtimestamp(at, clock):%Y-%m-%d %H:%M:%S}" for at in bars.open_time.tolist()]
        else:
            words = f"The sandbox has no {interval} bars of {instrument.symbol}; ask for 1day."
            return _member(501, words), "none"
        if not len(bars):
            return _member(400, _NO_DATA), "none"
        columns = {"datetime": labels, **_columns(bars, instrument)}
        values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        values = values if query.get("order", "desc").lower() == "asc" else values[::-1]
        return {"meta": _meta(instrument, interval), "values": values, "status": "ok"}, bars.origin

    def _quote(self, instrument: Instrument, _: Request) -> tuple[dict[str, Any], str]:
        found = snapshot(self.market, instrument)
        return (_member(400, _NO_DATA), "none") if found is None else (_quote_of(instrument, found), found.origin)

    def _statistics(self, request: Request) -> Response:
        self.require_paid(request)
        names, carried = _names(request), self.carried()
        found = _statistics_of(self.market, carried[names[0]]) if names and names[0] in carried else None
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


def _moment(request: Request, name: str, zone: ZoneInfo) -> float | None:
    """A date or time in `zone` as UTC epoch seconds."""
    text = request.query_params.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(_error(400, _parameter(name, text, "a date as 2006-01-02 or 2006-01-02 15:04:05"))) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _parameter(name: str, value: str, legal: str) -> str:
    return f"Invalid **{name}** provided: {value}. Supported: {legal}."


def _unknown(name: str) -> dict[str, Any]:
    words = f"**symbol** not found: {name}. Please specify it correctly according to API Documentation."
    return _member(400, words)


def _unknown_alone() -> str:
    words = "**symbol** or **figi** parameter is missing or invalid. Please provide a valid symbol according to API"
    return f"{words} documentation: {_REFERENCE}"


def _member(code: int, words: str) -> dict[str, Any]:
    return {"code": code, "message": words, "status": "error"}


def _error(code: int, words: str) -> Response:
    return json_response(_member(code, words), code)


def _days(history: History, first: float | None, last: float | None, size: int) -> History:
    """The newest days from `first` to `last`, which are midnights in UTC."""
    days = history.date.astype("datetime64[s]").astype(np.int64)
    start = 0 if first is None else int(np.searchsorted(days, first, side="left"))
    end = len(days) if last is None else int(np.searchsorted(days, last, side="right"))
    return history[max(start, end - size) : end]


def _columns(bars: History | Bars, instrument: Instrument) -> dict[str, list[str]]:
    columns = {name: _strings(getattr(bars, name), 5) for name in ("open", "high", "low", "close")}
    return columns if instrument.asset_type in _WITHOUT_VOLUME else {**columns, "volume": _strings(bars.volume, 0)}


def _meta(instrument: Instrument, interval: str) -> dict[str, Any]:
    if instrument.asset_type is AssetType.CRYPTO:
        return {
            "symbol": _name_of(instrument),
            "interval": interval,
            "currency_base": instrument.name,
            "currency_quote": "US Dollar",
            "exchange": "Coinbase Pro",
            "type": "Digital Currency",
        }
    if instrument.asset_type is AssetType.FX:
        base, _, quoted = _name_of(instrument).partition("/")
        pair = {"currency_base": base, "currency_quote": quoted, "type": "Physical Currency"}
        return {"symbol": _name_of(instrument), "interval": interval, **pair}
    exchange, mic = _EXCHANGES.get(instrument.exchange, (instrument.exchange, instrument.exchange))
    return {
        "symbol": _name_of(instrument),
        "interval": interval,
        "currency": instrument.currency,
        "exchange_timezone": instrument.timezone,
        "exchange": exchange,
        "mic_code": mic,
        "type": _TYPES.get(instrument.asset_type, "Common Stock"),
    }


def _quote_of(instrument: Instrument, found: Snapshot) -> dict[str, Any]:
    """/quote of one symbol."""
    general = {
        name: value for name, value in _meta(instrument, "1day").items() if name in ("exchange", "mic_code", "currency")
    }
    volumes = {"volume": f"{found.volume:.0f}", "average_volume": f"{found.average_volume:.0f}"}
    crypto = instrument.asset_type in (AssetType.CRYPTO, AssetType.FX)
    return {
        "symbol": _name_of(instrument),
        "name": f"{instrument.name} US Dollar" if crypto else instrument.name,
        **general,
        "datetime": found.date.isoformat(),
        "timestamp": _opened(instrument, found),
        "last_quote_at": found.time,
        "open": f"{found.open:.5f}",
        "high": f"{found.high:.5f}",
        "low": f"{found.low:.5f}",
        "close": f"{found.price:.5f}",
        **({} if crypto else volumes),
        "previous_close": f"{found.previous_close:.5f}",
        "change": f"{found.change:.5f}",
        "percent_change": f"{found.percent:.5f}",
        "is_market_open": found.is_open,
        "fifty_two_week": _year(found),
    }


def _year(found: Snapshot) -> dict[str, str]:
    low, high, price = found.year_low, found.year_high, found.price
    return {
        "low": f"{low:.5f}",
        "high": f"{high:.5f}",
        "low_change": f"{price - low:.5f}",
        "high_change": f"{price - high:.5f}",
        "low_change_percent": f"{100 * (price / low - 1):.5f}",
        "high_change_percent": f"{100 * (price / high - 1):.5f}",
        "range": f"{low:.6f} - {high:.6f}",
    }


def _opened(instrument: Instrument, found: Snapshot) -> int:
    """The session's midnight at the exchange, which is what a day's bar is labelled with."""
    return int(datetime.combine(found.date, clock_time(), ZoneInfo(instrument.timezone)).timestamp())


def _statistics_of(market: Market, instrument: Instrument) -> dict[str, Any] | None:
    """/statistics of one company; None for what is none."""
    found = company(market, instrument)
    if found is None:
        return None
    general = ("symbol", "currency", "exchange", "mic_code", "exchange_timezone")
    meta = {name: value for name, value in _meta(instrument, "1day").items() if name in general}
    return {
        "meta": {**meta, "name": instrument.name},
        "statistics": {
            "valuations_metrics": {
                "market_capitalization": round(found.market_cap),
                "enterprise_value": round(found.market_cap * 1.1),
                "trailing_pe": found.pe,
                "forward_pe": found.pe,
                "peg_ratio": found.peg,
                "price_to_sales_ttm": found.market_cap / found.revenue,
                "price_to_book_mrq": found.snapshot.price / found.book_value,
            },
            "financials": {
                "fiscal_year_ends": f"{found.latest_quarter.year - 1}-12-31",
                "most_recent_quarter": found.latest_quarter.isoformat(),
                "gross_margin": found.gross_profit / found.revenue,
                "profit_margin": found.profit_margin,
                "operating_margin": found.operating_margin,
                "return_on_assets_ttm": found.return_on_equity / 3,
                "return_on_equity_ttm": found.return_on_equity,
                "income_statement": {
                    "revenue_ttm": found.revenue,
                    "revenue_per_share_ttm": found.revenue / found.shares,
                    "gross_profit_ttm": found.gross_profit,
                    "diluted_eps_ttm": found.eps,
                    "quarterly_earnings_growth_yoy": found.growth,
                },
            },
            "stock_statistics": {"shares_outstanding": found.shares, "float_shares": None},
            "stock_price_summary": {
                "fifty_two_week_low": found.snapshot.year_low,
                "fifty_two_week_high": found.snapshot.year_high,
                "beta": found.beta,
                "day_50_ma": found.averages[0],
                "day_200_ma": found.averages[1],
            },
            "dividends_and_splits": {
                "forward_annual_dividend_rate": found.dividend_per_share or None,
                "forward_annual_dividend_yield": found.dividend_yield or None,
                "ex_dividend_date": None if found.ex_dividend is None else found.ex_dividend.isoformat(),
                "last_split_factor": None if found.last_split is None else f"{found.last_split[1]}-for-1 split",
                "last_split_date": None if found.last_split is None else found.last_split[0].isoformat(),
            },
        },
    }


def _name_of(instrument: Instrument) -> str:
    """How requests and answers name an instrument: cryptos are pairs with a slash."""
    if instrument.asset_type is AssetType.CRYPTO and "twelve_data" not in instrument.aliases:
        return f"{instrument.symbol}/{instrument.currency}"
    return instrument.symbol_at("twelve_data")


def _strings(values: Floats, decimals: int) -> list[str]:
    return [f"{value:.{decimals}f}" for value in values.tolist()]
