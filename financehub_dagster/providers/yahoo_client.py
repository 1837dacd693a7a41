"""yfinance, kept to one request per question.

Belongs here: the process-wide session and settings yfinance needs, and the one function that calls it. Does not belong
here: what answers mean. Imports yfinance: import this module inside functions only.

What yfinance does that this module prevents:
* any status >= 400 starts a consent routine of up to six requests, and an unknown symbol costs 28: the session raises
  typed errors instead of returning such answers;
* it fetches a cookie and a crumb before the first question, and before every one when the cookie cannot be stored: the
  chart needs neither, so the session answers these two itself;
* it asks each symbol's timezone first: we know it;
* it keeps answers, failed ones too, in a cache keyed by address, parameters and timeout, which serves them again
  without asking, to other threads as well: each question gets a timeout of its own, which the session ignores;
* `session=` of the last caller replaces everybody's: there is one session, and the call decides where a request goes;
* download() and the default settings turn errors into empty frames: Ticker.history with hide_exceptions off does not;
* its SQLite cache under the user's home locks when processes share it: each process has a folder of its own.
"""

import re
import tempfile
import threading
import warnings
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import count
from typing import Any, override
from urllib.parse import urlsplit

import pandas as pd
from curl_cffi.requests import Response

from financehub_dagster.gateway.addresses import host_of
from financehub_dagster.gateway.call import current_call
from financehub_dagster.gateway.curl_session import GovernedCurlSession
from financehub_dagster.gateway.errors import Malformed
from financehub_dagster.gateway.redaction import guard_logger
from financehub_dagster.providers import yahoo_wire
from financehub_dagster.settings import get_settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas 3 deprecations inside yfinance
    import yfinance as yf
    from yfinance.data import YfData
    from yfinance.exceptions import YFException


@dataclass(frozen=True)
class History:
    """What yfinance made of a chart.

    frame is indexed by midnight of the session in the exchange's timezone; meta is what Yahoo says about the symbol,
    its times as timestamps.
    """

    frame: pd.DataFrame
    meta: dict[str, Any]


class YahooSession(GovernedCurlSession):
    """Answers yfinance's requests for a cookie and a crumb itself; the charts it sends for need neither."""

    @override
    def request(self, method: Any, url: str, **kwargs: Any) -> Response:  # type: ignore[override]
        """Only a chart with bars reaches yfinance; raises NoBars or ProviderError instead of any other answer."""
        if host_of(url) == "fc.yahoo.com" or urlsplit(url).path == "/v1/test/getcrumb":
            return _nothing(url)
        params = {name: value for name, value in (kwargs.get("params") or {}).items() if name != "crumb"}
        response = super().request(method, url, **{**kwargs, "params": params})
        if not yahoo_wire.has_bars(response.content):
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
_timeouts = count(1)


def session() -> YahooSession:
    """The session of this process."""
    with _lock:
        return _process().session


def _quieten() -> None:
    """Ignore pandas' deprecations inside yfinance; catch_warnings would change the filters of other threads as well."""
    with _lock:
        if _THEIRS not in warnings.filters:
            warnings.filterwarnings("ignore", module=_THEIRS[3].pattern)


_THEIRS = ("ignore", None, Warning, re.compile(r"yfinance\."), 0)
"""The entry of warnings.filters that _quieten makes."""


def history(symbol: str, timezone: str, start: date, end: date) -> History | None:
    """Daily bars of [start, end) within the current call, or None when Yahoo has none; raises ProviderError."""
    ticker = yf.Ticker(symbol, session=session())
    ticker._tz = timezone  # there is no public way to spare the request that asks for it
    provider = current_call().governor.policy.provider
    _quieten()
    try:
        frame = ticker.history(
            start=start, end=end, interval="1d", auto_adjust=False, actions=True, timeout=next(_timeouts)
        )
        told = ticker.get_history_metadata()
        meta = {name: told[name] for name in yahoo_wire.META}  # asking for all of it would send another request
    except NoBars:
        return None
    except (YFException, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        message = f"yfinance cannot read the chart ({type(error).__name__}: {error})"
        raise Malformed(provider, message, symbol=symbol) from None
    finally:
        YfData.cache_get.cache_clear()  # nobody will ask for what it holds
    return History(frame, meta)
