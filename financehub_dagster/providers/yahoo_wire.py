"""What Yahoo's chart answers mean.

Belongs here: telling a usable chart from an error, whatever the HTTP status says, before yfinance sees it. Does not
belong here: frames.
"""

from typing import Any
from urllib.parse import unquote

from financehub_dagster.gateway.errors import BadKey, BadRequest, Malformed, ProviderError, Transient, UnknownSymbol
from financehub_dagster.gateway.reply import Reply, burst_limit, refusal_of_status
from financehub_dagster.market.currencies import unit_of
from financehub_dagster.market.instruments import Instrument

CHART = "/v8/finance/chart/"
PRICES = ("open", "high", "low", "close", "volume")
META = ("symbol", "currency", "exchangeTimezoneName", "instrumentType", "regularMarketTime", "currentTradingPeriod")
"""What every chart says about its symbol, and we rely on."""
SPOKEN = (400, 404, 422)
"""Statuses that the error in the body explains; others speak for themselves."""
COOKIE, CRUMB, QUOTE = "/", "/v1/test/getcrumb", "/v7/finance/quote"
"""Where quotes, and the cookie and the crumb they need, are got."""
LONGEST_CRUMB = 64
THROTTLED = b"Too Many Requests"
NO_DATA = "data doesn't exist for startdate"
"""How Yahoo answers a range before a symbol's first trade: with HTTP 400."""


def refusal(reply: Reply) -> ProviderError | None:
    """The error this answer stands for; None for bars, and for the statement that there are none."""
    # Yahoo's edge servers refuse robots with 999, and sometimes throttle with a text under any status.
    if reply.status == 999 or reply.body[: len(THROTTLED)] == THROTTLED:
        return burst_limit(reply, f"HTTP {reply.status}: {reply.excerpt()}")
    if not reply.path.startswith(CHART):
        return _refused_quote(reply)
    if reply.status >= 400:
        return _refused(reply)
    error = refusal_of_status(reply)
    return error if error is not None else _unreadable(reply, reply.json())


def _refused_quote(reply: Reply) -> ProviderError | None:
    """The cookie comes with a 404; a crumb is one short word; quotes are a list."""
    if reply.path == COOKIE and reply.status == 404:
        return None
    error = refusal_of_status(reply)
    if error is not None or reply.path == COOKIE:
        return error
    if reply.path == CRUMB:
        crumb = reply.body.decode("utf-8", "replace").strip()
        usable = 0 < len(crumb) <= LONGEST_CRUMB and crumb.isprintable() and not set(crumb) & {" ", "<"}
        return None if usable else Malformed(reply.provider, f"this is no crumb: {reply.excerpt()}")
    answer = reply.json()
    said = _said(answer)
    if said is not None:
        return _meaning(reply, *said)
    part = answer.get("quoteResponse") if isinstance(answer, dict) else None
    quotes = part.get("result") if isinstance(part, dict) else None
    return None if isinstance(quotes, list) else Malformed(reply.provider, "the answer is not a list of quotes")


def units_per(instrument: Instrument, symbol: str, quoted: str) -> float:
    """By how much prices in `quoted` are divided to be in the instrument's currency; raises BadRequest for another."""
    if quoted == instrument.currency:
        return 1.0
    currency, power = unit_of(quoted)
    if currency != instrument.currency:
        remedy = "correct the instrument's currency or its yahoo alias"
        raise BadRequest("yahoo", f"is quoted in {quoted}, not in {instrument.currency}: {remedy}", symbol=symbol)
    return 10.0**-power


def _refused(reply: Reply) -> ProviderError | None:
    """An error status: Yahoo's own words if there are any; HTML from a proxy or a CDN says nothing about the symbol."""
    by_status = refusal_of_status(reply)
    if reply.status not in SPOKEN:
        return by_status
    try:
        said = _said(reply.json())
    except Malformed as error:
        return Transient(reply.provider, f"HTTP {reply.status}: {error}", symbol=reply.symbol)
    return by_status if said is None else _meaning(reply, *said)


def _said(answer: Any) -> tuple[str, str] | None:
    """Code and description of the error in the body."""
    if not isinstance(answer, dict):
        return None
    part = answer.get("chart") or answer.get("finance") or answer.get("quoteResponse") or {}
    error = part.get("error") if isinstance(part, dict) else None
    if not isinstance(error, dict):
        return None
    return str(error.get("code", "")), str(error.get("description", ""))


def _meaning(reply: Reply, code: str, description: str) -> ProviderError | None:
    provider, symbol, kind = reply.provider, reply.symbol, code.lower()
    said = f"{code}: {description}"
    if NO_DATA in description.lower():
        return None
    if kind == "not found":
        return UnknownSymbol(provider, f"{description or 'no such symbol'}; check the symbol", symbol=symbol)
    if kind == "unauthorized":
        return BadKey(provider, said, symbol=symbol)
    if kind == "too many requests":
        return burst_limit(reply, said)
    if "internal" in kind or "unavailable" in kind:
        return Transient(provider, said, symbol=symbol)
    return BadRequest(provider, said, symbol=symbol)


def _unreadable(reply: Reply, answer: Any) -> ProviderError | None:
    """Is a 200 the chart of the symbol that was asked for, in the documented shape?"""
    said = _said(answer)
    if said is not None:
        return _meaning(reply, *said)
    problem = _problem(reply, answer)
    return None if problem is None else Malformed(reply.provider, problem, symbol=reply.symbol)


def _problem(reply: Reply, answer: Any) -> str | None:
    try:
        result = answer["chart"]["result"][0]
        meta = result["meta"]
        asked, symbol = unquote(reply.path.removeprefix(CHART)), meta["symbol"]
        if str(symbol).upper() != asked.upper():
            return f"asked for {asked}, got {symbol}"
        missing = [field for field in META if meta[field] is None]
        if missing:
            return f"its meta has no {', '.join(missing)}"
        period = meta["currentTradingPeriod"]["regular"]
        if not all(isinstance(period[edge], int) for edge in ("start", "end")):
            return "its trading period is not in seconds"
        if not result.get("timestamp"):
            return "it has prices without times" if any(result["indicators"]["quote"][0].values()) else None
        columns = [result["indicators"]["quote"][0][name] for name in PRICES]
        columns += [part["adjclose"] for part in result["indicators"].get("adjclose", [])]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        return f"the chart lacks {error}" if isinstance(error, KeyError) else "the answer is not a chart"
    rows = len(result["timestamp"])
    if any(len(column) != rows for column in columns):
        return f"its columns are of different length ({rows} timestamps)"
    return None
