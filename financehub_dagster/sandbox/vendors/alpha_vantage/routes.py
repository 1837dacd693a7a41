"""Alpha Vantage as its users meet it: one address, the function in the query, every error a success.

Belongs here: parameters, limits and refusals. Does not belong here: the documents (prices,
reports). Functions and shapes follow www.alphavantage.co/documentation; the texts are the ones its
users report.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import override

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.vendors.alpha_vantage import prices, reports
from financehub_dagster.sandbox.vendors.keyed import KeyedVendor
from financehub_dagster.sandbox.vendors.limits import JITTER_SECONDS, RateWindow
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

#: 25 a day, one a second; a paid key 75 a minute (www.alphavantage.co/premium). The day is taken to be New York's.
FREE = (RateWindow(86_400, 25, aligned=True, zone="America/New_York"), RateWindow(1, 1, jitter=JITTER_SECONDS))
PAID = (RateWindow(60, 75),)
_COMPACT = 100
_DAY_SECONDS = 86_400
_NEWS_SECONDS = 7 * _DAY_SECONDS
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
        """The one address."""
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
        return [asked.upper().removeprefix("CRYPTO:")]

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
        function = _function(request)
        answers: dict[str, Endpoint] = {
            "TIME_SERIES_DAILY": self._daily,
            "TIME_SERIES_DAILY_ADJUSTED": self._daily,
            "TIME_SERIES_INTRADAY": self._intraday,
            "FX_DAILY": self._fx_daily,
            "GLOBAL_QUOTE": self._quote,
            "OVERVIEW": self._overview,
            "SPLITS": self._splits,
            "NEWS_SENTIMENT": self._news,
            "MARKET_STATUS": lambda _: json_response(reports.market_status(self.market)),
        }
        if function not in answers:
            return json_response({"Error Message": f"This API function ({function}) does not exist."})
        return answers[function](request)

    def _asked(self, request: Request) -> Instrument | None:
        return self.carried().get(request.query_params.get("symbol", "").upper())

    def _known(self, request: Request) -> Instrument:
        """The instrument of `symbol`, which has to be carried."""
        instrument = self._asked(request)
        if instrument is None:
            raise Refused(_invalid_call(_function(request)))
        return instrument

    def _size(self, request: Request) -> str:
        """`outputsize`; full is for customers."""
        size = request.query_params.get("outputsize", "compact").lower()
        if size not in ("compact", "full"):
            raise Refused(_invalid_call(_function(request)))
        if size == "full" and not self.paid(request):
            words = f"{_THANKS}The outputsize=full parameter value is a premium feature for the {_function(request)}"
            upsell = f"You may subscribe to any of the premium plans at {_PREMIUM} to instantly unlock all premium"
            raise Refused(json_response({"Information": f"{words} endpoint. {upsell} features"}))
        return size

    def _daily(self, request: Request) -> Response:
        adjusted = _function(request).endswith("ADJUSTED")
        if adjusted:
            self.require_paid(request)
        instrument, size = self._known(request), self._size(request)
        history = _shown(self.market.daily(instrument, self.name), size)
        document = prices.daily(request.query_params["symbol"].upper(), history, size, adjusted)
        return json_response(document, headers={ORIGIN_HEADER: history.origin})

    def _fx_daily(self, request: Request) -> Response:
        query = request.query_params
        base, quoted = (query.get(name, "").upper() for name in ("from_symbol", "to_symbol"))
        instrument = self.market.listed.get(f"{base}{quoted}")
        if instrument is None or instrument.asset_type is not AssetType.FX:
            return _invalid_call("FX_DAILY")
        size = self._size(request)
        history = _shown(self.market.daily(instrument, self.name), size)
        return json_response(prices.fx_daily(base, quoted, history, size), headers={ORIGIN_HEADER: history.origin})

    def _intraday(self, request: Request) -> Response:
        query = request.query_params
        minutes = re.fullmatch(r"(1|5|15|30|60)min", query.get("interval", ""))
        instrument, size = self._known(request), self._size(request)
        if minutes is None:
            return _invalid_call("TIME_SERIES_INTRADAY")
        first, last = self._span(query.get("month"))
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
        try:
            first = datetime.strptime(month, "%Y-%m").replace(tzinfo=prices.EASTERN)
        except ValueError:
            raise Refused(_invalid_call("TIME_SERIES_INTRADAY")) from None
        after = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        return first.timestamp(), after.timestamp() - 1

    def _quote(self, request: Request) -> Response:
        instrument = self._asked(request)
        document, origin = prices.global_quote(self.market, request.query_params.get("symbol", "").upper(), instrument)
        return json_response(document, headers={ORIGIN_HEADER: origin})

    def _overview(self, request: Request) -> Response:
        instrument = self._asked(request)
        return json_response({} if instrument is None else reports.overview(self.market, instrument))

    def _splits(self, request: Request) -> Response:
        history = self.market.daily(self._known(request))
        return json_response(reports.splits(request.query_params["symbol"].upper(), history))

    def _news(self, request: Request) -> Response:
        query = request.query_params
        first = self.market.now() - _NEWS_SECONDS
        if "time_from" in query:
            try:
                first = datetime.strptime(query["time_from"], "%Y%m%dT%H%M").replace(tzinfo=UTC).timestamp()
            except ValueError:
                return _invalid_call("NEWS_SENTIMENT")
        limit = min(int(query.get("limit", "50")) if query.get("limit", "50").isdigit() else 50, 1000)
        document = reports.news(self.market, query.get("tickers", "").upper(), first, limit)
        if document is None:
            words = (
                "Invalid inputs. Please refer to the API documentation https://www.alphavantage.co/documentation#news"
            )
            return json_response({"Information": f"{words}-sentiment and try again."})
        return json_response(document)


def _function(request: Request) -> str:
    return request.query_params.get("function", "").upper()


def _shown(history: History, size: str) -> History:
    return history[-_COMPACT:] if size == "compact" else history


def _invalid_call(function: str) -> Response:
    """What an unknown symbol and a wrong parameter both get."""
    documentation = "https://www.alphavantage.co/documentation/"
    words = f"Invalid API call. Please retry or visit the documentation ({documentation}) for {function}."
    return json_response({"Error Message": words})
