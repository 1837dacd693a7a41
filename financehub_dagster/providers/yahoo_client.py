"""yfinance, kept to one request per question.

Belongs here: the process-wide session and settings yfinance needs, and the one function that calls it. Does not belong
here: what answers mean (yahoo_wire) and what charts hold (yahoo_chart). Imports yfinance: import this module inside
functions only.

yfinance sends the question; its frames are not used (docs/adr/0027). What it does that this module prevents:
* any status >= 400 starts a consent routine of up to six requests, and an unknown symbol costs 28: the session raises
  typed errors instead of returning such answers;
* it fetches a cookie and a crumb before the first question, and before every one when the cookie cannot be stored: the
  chart needs neither, so the session answers these two itself;
* Ticker asks each symbol's timezone first (we know it), keeps answers, failed ones too, in a cache that serves them to
  other threads as well, and turns errors into empty frames: YfData.get below it does none of this;
* `session=` of the last caller replaces everybody's: there is one session, and the call decides where a request goes;
* its SQLite cache under the user's home locks when processes share it: each process has a folder of its own.
"""

import tempfile
import threading
import warnings
from datetime import date, datetime, time
from functools import cache
from typing import Any, override
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import orjson
from curl_cffi.requests import Response

from financehub_dagster.gateway.addresses import host_of
from financehub_dagster.gateway.call import current_call
from financehub_dagster.gateway.curl_session import GovernedCurlSession
from financehub_dagster.gateway.errors import Malformed
from financehub_dagster.gateway.redaction import guard_logger
from financehub_dagster.providers import yahoo_chart, yahoo_wire
from financehub_dagster.settings import get_settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas 3 deprecations inside yfinance
    import yfinance as yf
    from yfinance.data import YfData

HOST = "https://query2.finance.yahoo.com"


class YahooSession(GovernedCurlSession):
    """Answers yfinance's requests for a cookie and a crumb itself; the charts it sends for need neither."""

    @override
    def request(self, method: Any, url: str, **kwargs: Any) -> Response:  # type: ignore[override]
        """Only a chart with bars reaches yfinance; raises NoBars or ProviderError instead of any other answer."""
        if host_of(url) == "fc.yahoo.com" or urlsplit(url).path == "/v1/test/getcrumb":
            return _nothing(url)
        params = {name: value for name, value in (kwargs.get("params") or {}).items() if name != "crumb"}
        response = super().request(method, url, **{**kwargs, "params": params})
        if response.status_code >= 400:  # the statement that there are none
            raise NoBars
        return response


class NoBars(Exception):
    """Yahoo has no bars in the range that was asked for; not an error."""


def _nothing(url: str) -> Response:
    response = Response()
    response.url, response.status_code, response.content = url, 200, b""
    return response


class _Process:
    """What one process has exactly one of."""

    def __init__(self) -> None:
        home = get_settings().home / "cache"
        home.mkdir(parents=True, exist_ok=True)
        self.folder = tempfile.TemporaryDirectory(prefix="yfinance-", dir=home, ignore_cleanup_errors=True)
        yf.set_tz_cache_location(self.folder.name)
        yf.config.debug.hide_exceptions = False
        guard_logger("yfinance")
        self.session = YahooSession()


_lock = threading.Lock()
_process = cache(_Process)


def session() -> YahooSession:
    """The session of this process."""
    with _lock:
        return _process().session


def history(symbol: str, timezone: str, start: date, end: date) -> yahoo_chart.Chart | None:
    """The chart of [start, end) within the current call, or None when Yahoo has no bars; raises ProviderError."""
    zone = ZoneInfo(timezone)
    first, last = (int(datetime.combine(day, time(), zone).timestamp()) for day in (start, end))
    params = {
        "period1": first,
        "period2": last,
        "interval": "1d",
        "includePrePost": False,
        "events": "div,splits,capitalGains",
    }
    try:
        response = YfData(session=session()).get(f"{HOST}{yahoo_wire.CHART}{symbol}", params=params)
    except NoBars:
        return None
    try:
        return yahoo_chart.read(orjson.loads(response.content), last)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        provider = current_call().governor.policy.provider
        message = f"the chart cannot be read ({type(error).__name__}: {error})"
        raise Malformed(provider, message, symbol=symbol) from None
