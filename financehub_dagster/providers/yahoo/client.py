"""yfinance, kept to one request per question.

Belongs here: the process-wide client, its session and settings, and the one function that calls it. Does not belong
here: what answers mean (errors) and what charts hold (charts). Imports yfinance: import this module inside
functions only.

yfinance sends the question; its frames are not used (docs/adr/0027). What it does that this module prevents:
* any status >= 400 starts a consent routine of up to six requests, and an unknown symbol costs 28: the session raises
  typed errors instead of returning such answers;
* it looks for a cookie and a crumb before every question, in a SQLite file under the user's home that locks when
  processes share it, and then at Yahoo: the chart needs neither, so our client has none to look for;
* Ticker asks each symbol's timezone first (we know it), keeps answers, failed ones too, in a cache that serves them to
  other threads as well, and turns errors into empty frames: YfData.get below it does none of this;
* `session=` of the last caller replaces everybody's: there is one session, and the call decides where a request goes.
"""

import threading
import warnings
from collections.abc import Callable
from datetime import date, datetime, time
from functools import cache
from typing import Any, override
from zoneinfo import ZoneInfo

from curl_cffi.requests import Response

from financehub_dagster.gateway.errors import Malformed
from financehub_dagster.gateway.http.curl_session import GatewayCurlSession
from financehub_dagster.gateway.request_context import current_call
from financehub_dagster.providers.intraday import Range
from financehub_dagster.providers.yahoo import charts, errors, intraday

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas 3 deprecations inside yfinance
    import yfinance as yf
    from yfinance.data import YfData

HOST = "https://query2.finance.yahoo.com"


class YahooSession(GatewayCurlSession):
    """Lets only charts with bars reach yfinance."""

    @override
    def request(self, method: Any, url: str, **kwargs: Any) -> Response:  # type: ignore[override]
        """Send one request under the current call's client; raises NoBars or ProviderError for any other answer."""
        response = super().request(method, url, **kwargs)
        if response.status_code >= 400:  # the statement that there are none
            raise NoBars
        return response


class NoBars(Exception):
    """Yahoo has no bars in the range that was asked for; not an error."""


class _Charts(YfData):  # type: ignore[misc]
    """yfinance's client for questions that need neither cookie nor crumb."""

    @override
    def _get_cookie_and_crumb(self, timeout: int = 30) -> tuple[None, str]:
        return None, self._cookie_strategy


def _make_client() -> _Charts:
    yf.config.debug.hide_exceptions = False
    return _Charts(session=YahooSession(logger="yfinance"))


_lock = threading.Lock()
_client = cache(_make_client)


def client() -> YfData:
    """The client of this process."""
    with _lock:
        return _client()


def history(symbol: str, timezone: str, start: date, end: date) -> charts.Chart | None:
    """The chart of [start, end) within the current call, or None when Yahoo has no bars; raises ProviderError."""
    zone = ZoneInfo(timezone)
    first, last = (int(datetime.combine(day, time(), zone).timestamp()) for day in (start, end))
    return _chart(
        symbol,
        {"period1": first, "period2": last, "interval": "1d", "events": "div,splits,capitalGains"},
        lambda document: charts.read(document, last, first),
    )


def minutes(symbol: str, of: Range) -> intraday.Chart | None:
    """The chart of one page of a range in the current call, or None when Yahoo has no bars; raises ProviderError."""
    interval = intraday.INTERVALS[of.interval].name
    return _chart(
        symbol,
        {"period1": of.first, "period2": of.last - 1, "interval": interval},
        lambda document: intraday.read(document, of),
    )


def _chart[C](symbol: str, params: dict[str, Any], read: Callable[[Any], C | None]) -> C | None:
    try:
        client().get(f"{HOST}{errors.CHART}{symbol}", params={**params, "includePrePost": False})
    except NoBars:
        return None
    try:
        return read(current_call().document())
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        call = current_call()
        message = f"the chart cannot be read ({type(error).__name__}: {error})"
        raise Malformed(call.client.policy.provider, message, symbol=call.symbol) from None
