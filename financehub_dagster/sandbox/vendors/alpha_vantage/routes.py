"""Alpha Vantage as its users meet it: one address, the function in the query, every error a success.

Belongs here: parameters, limits and refusals. Does not belong here: the documents (prices,
reports). Functions and shapes follow www.alphavantage.co/documentation; the texts are the ones its
users report.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import override

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.vendors.alpha_vantage import prices, reports
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import JITTER_SECONDS, RateWindow
from financehub_dagster.sandbox.vendors.vendor import (
    ORIGIN_HEADER,
    Endpoint,
    Identity,
    Quirk,
    Situation,
    json_response,
    quirk_of,
)

#: 25 a day, one a second; a paid key 75 a minute (www.alphavantage.co/premium). The day is taken to be New York's.
FREE = (RateWindow(86_400, 25, aligned=True, zone="America/New_York"), RateWindow(1, 1, jitter=JITTER_SECONDS))
PAID = (RateWindow(60, 75),)
_COMPACT = 100
_DAY_SECONDS = 86_400
_MOST_BULK_SYMBOLS = 100
#: Some minutes of the hours before and after the market, as offsets from open (negative) and close.
_EXTENDED = (-120, -30, -5, 0, 5, 120)
_THANKS = "Thank you for using Alpha Vantage! "
_PREMIUM = "https://www.alphavantage.co/premium/"
_SUPPORT = "https://www.alphavantage.co/support/#api-key"


class AlphaVantage(KeyedVendor):
    """Stocks: daily and recorded intraday bars, quotes, company overviews, corporate actions and news."""

    name = "alpha_vantage"
    plans = (FREE, PAID)
    quirks: tuple[Quirk, ...] = ("extended_hours",)
    situations = ("bad_key", "burst", "day_quota", "not_in_plan", "unknown_symbol")
    # Every error is a 200; these are only what a fault of kind status puts under its number.
    statuses = {401: "bad_key", 429: "burst"}  # noqa: RUF012

    @property
    @override
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The one endpoint."""
        return {"/query": self._query}

    @override
    def key_of(self, request: Request) -> str | None:
        """In the query: there is no header for it."""
        return request.query_params.get("apikey") or None

    @override
    def symbols_of(self, request: Request) -> Iterable[str]:
        """`symbol`, or `tickers` of the news."""
        query = request.query_params
        pair = f"{query.get('from_symbol', '')}{query.get('to_symbol', '')}"
        asked = query.get("symbol") or query.get("tickers") or pair
        return [name.upper().removeprefix("CRYPTO:") for name in asked.split(",")]

    @override
    def carries(self, instrument: Instrument) -> bool:
        """Securities; its currencies are functions of their own, which are not played."""
        return instrument.asset_type in (AssetType.STOCK, AssetType.ETF)

    @override
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """Always 200; the key stands in the text of a spent day."""
        invalid = f"the parameter apikey is invalid or missing. Please claim your free API key on ({_SUPPORT}). "
        day = f"We have detected your API key as {identity.key} and our standard API rate limit is "
        limits = {window.seconds: window.amount for window in self.accounts.windows(identity.key)}
        daily = limits.get(86_400, FREE[0].amount)
        burst = (
            f"{_THANKS}Please consider spreading out your free API requests more sparingly (1 request per second). You "
            f"may subscribe to any of the premium plans at {_PREMIUM} to lift the free key rate limit ({daily} "
            "requests per day), raise the per-second burst limit, and instantly unlock all premium endpoints"
        )
        body = {
            "bad_key": {"Error Message": f"{invalid}It should take less than 20 seconds."},
            "burst": {"Information": burst},
            "day_quota": {
                "Information": f"{day}{daily} requests per day. Please subscribe to any of the premium plans at "
                f"{_PREMIUM} to instantly remove all daily rate limits."
            },
            "not_in_plan": {
                "Information": f"{_THANKS}This is a premium endpoint. You may subscribe to any of the premium plans at "
                f"{_PREMIUM} to instantly unlock all premium endpoints"
            },
        }.get(name)
        return _invalid_call("TIME_SERIES_DAILY") if body is None else json_response(body)

    def _query(self, request: Request) -> Response:
        function = request.query_params.get("function", "")
        answers: dict[str, Callable[[Request], Response]] = {
            "TIME_SERIES_DAILY": self._daily,
            "TIME_SERIES_DAILY_ADJUSTED": self._daily,
            "TIME_SERIES_INTRADAY": self._intraday,
            "FX_DAILY": self._fx_daily,
            "GLOBAL_QUOTE": self._quote,
            "REALTIME_BULK_QUOTES": self._bulk_quotes,
            "OVERVIEW": self._overview,
            "DIVIDENDS": self._actions,
            "SPLITS": self._actions,
            "SYMBOL_SEARCH": self._search,
            "NEWS_SENTIMENT": self._news,
            "MARKET_STATUS": lambda _: json_response(reports.market_status(self.market)),
        }
        if function.upper() not in answers:
            return json_response({"Error Message": f"This API function ({function}) does not exist."})
        return answers[function.upper()](request)

    def _asked(self, request: Request) -> Instrument | None:
        return self.carried().get(request.query_params.get("symbol", "").upper())

    def _daily(self, request: Request) -> Response:
        query = request.query_params
        function = query["function"].upper()
        adjusted = function.endswith("ADJUSTED")
        if adjusted:
            self.require_paid(request)
        instrument, size = self._asked(request), query.get("outputsize", "compact").lower()
        if instrument is None or size not in ("compact", "full"):
            return _invalid_call(function)
        if size == "full" and not self.paid(request):
            return _full_is_premium(function)
        history = self.market.daily(instrument)
        if size == "compact":
            history = history[-_COMPACT:]
        headers = {ORIGIN_HEADER: history.origin}
        if query.get("datatype") == "csv":
            return Response(prices.daily_csv(history), 200, headers, "application/x-download")
        shown = query["symbol"].upper()
        return json_response(prices.daily(shown, history, size, adjusted), headers=headers)

    def _fx_daily(self, request: Request) -> Response:
        query, size = request.query_params, request.query_params.get("outputsize", "compact").lower()
        pair = f"{query.get('from_symbol', '')}{query.get('to_symbol', '')}".upper()
        instrument = self.market.listed.get(pair)
        if instrument is None or instrument.asset_type is not AssetType.FX or size not in ("compact", "full"):
            return _invalid_call("FX_DAILY")
        if size == "full" and not self.paid(request):
            return _full_is_premium("FX_DAILY")
        history = self.market.daily(instrument)
        history = history[-_COMPACT:] if size == "compact" else history
        document = prices.fx_daily(pair[:3], pair[3:], history, size)
        return json_response(document, headers={ORIGIN_HEADER: history.origin})

    def _intraday(self, request: Request) -> Response:
        query = request.query_params
        minutes = re.fullmatch(r"(1|5|15|30|60)min", query.get("interval", ""))
        size = query.get("outputsize", "compact").lower()
        instrument = self._asked(request)
        if instrument is None or minutes is None or size not in ("compact", "full"):
            return _invalid_call("TIME_SERIES_INTRADAY")
        if size == "full" and not self.paid(request):
            return _full_is_premium("TIME_SERIES_INTRADAY")
        month = query.get("month")
        try:
            first, last = self._span(month)
        except ValueError:
            return _invalid_call("TIME_SERIES_INTRADAY")
        count = _COMPACT if size == "compact" else None
        as_traded = query.get("adjusted", "true").lower() == "false"
        bars = self.market.intraday(
            instrument,
            60 * int(minutes[1]),
            first,
            last,
            vendor=self.name,
            limit=count,
            newest=True,
            by_the_clock=True,
            as_traded=as_traded,
        )
        if query.get("extended_hours", "true").lower() != "false" or quirk_of(request) == "extended_hours":
            bars = bars.with_more(self.market.beside(instrument, first, last, _EXTENDED, 1.0))
            bars = bars if count is None else bars[-count:]
        document = prices.intraday(query["symbol"].upper(), bars, minutes[0], size)
        return json_response(document, headers={ORIGIN_HEADER: bars.origin})

    def _span(self, month: str | None) -> tuple[float, float]:
        """The first and last second of a month (YYYY-MM) in New York; without one, of the last 30 days."""
        now = self.market.now()
        if month is None:
            return now - 30 * _DAY_SECONDS, now
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=prices.EASTERN)
        after = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        return first.timestamp(), after.timestamp() - 1

    def _quote(self, request: Request) -> Response:
        instrument = self._asked(request)
        document, origin = prices.global_quote(self.market, request.query_params.get("symbol", "").upper(), instrument)
        return json_response(document, headers={ORIGIN_HEADER: origin})

    def _bulk_quotes(self, request: Request) -> Response:
        self.require_paid(request)
        names = request.query_params.get("symbol", "").upper().split(",")[:_MOST_BULK_SYMBOLS]
        carried = self.carried()
        return json_response(prices.bulk_quotes(self.market, {name: carried.get(name) for name in names}))

    def _overview(self, request: Request) -> Response:
        instrument = self._asked(request)
        return json_response({} if instrument is None else reports.overview(self.market, instrument))

    def _actions(self, request: Request) -> Response:
        function = request.query_params["function"].upper()
        instrument = self._asked(request)
        if instrument is None:
            return _invalid_call(function)
        document = reports.dividends if function == "DIVIDENDS" else reports.splits
        return json_response(document(request.query_params["symbol"].upper(), self.market.daily(instrument)))

    def _search(self, request: Request) -> Response:
        keywords = request.query_params.get("keywords", "")
        return json_response(reports.search(self.matching(keywords), keywords))

    def _news(self, request: Request) -> Response:
        query = request.query_params
        try:
            first, last = (_news_time(query.get(name)) for name in ("time_from", "time_to"))
        except ValueError:
            return _invalid_call("NEWS_SENTIMENT")
        names = [name.upper() for name in query.get("tickers", "").split(",") if name]
        limit = min(int(query.get("limit", "50")) if query.get("limit", "50").isdigit() else 50, 1000)
        document = reports.news(self.market, names, first, last, limit, query.get("sort", "LATEST"))
        if document is None:
            words = (
                "Invalid inputs. Please refer to the API documentation https://www.alphavantage.co/documentation#news"
            )
            return json_response({"Information": f"{words}-sentiment and try again."})
        return json_response(document)


def _news_time(text: str | None) -> float | None:
    return datetime.strptime(text, "%Y%m%dT%H%M").replace(tzinfo=UTC).timestamp() if text else None


def _invalid_call(function: str) -> Response:
    """What an unknown symbol and a wrong parameter both get."""
    documentation = "https://www.alphavantage.co/documentation/"
    words = f"Invalid API call. Please retry or visit the documentation ({documentation}) for {function}."
    return json_response({"Error Message": words})


def _full_is_premium(function: str) -> Response:
    words = f"{_THANKS}The outputsize=full parameter value is a premium feature for the {function}"
    upsell = f"You may subscribe to any of the premium plans at {_PREMIUM} to instantly unlock all premium features"
    return json_response({"Information": f"{words} endpoint. {upsell}"})
