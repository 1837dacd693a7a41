"""What Yahoo's chart answers mean.

Belongs here: telling a usable chart from an error, whatever the HTTP status says, before yfinance sees it. Does not
belong here: frames.
"""

from datetime import datetime, timedelta
from math import isfinite
from typing import Any, TypeGuard
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from financehub_dagster.gateway.errors import BadKey, BadRequest, Malformed, ProviderError, Transient, UnknownSymbol
from financehub_dagster.gateway.response import Reply, burst_limit, refusal_of_status
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.items import known
from financehub_dagster.wording import counted

CHART = "/v8/finance/chart/"
INTERVAL = "1d"
PRICES = ("open", "high", "low", "close", "volume")
META = ("dataGranularity", "exchangeTimezoneName", "instrumentType", "regularMarketTime", "currentTradingPeriod")
"""What every chart with bars says about its symbol beside the currency, and we rely on."""
EARLIEST, LATEST = -2_208_988_800, 4_102_444_800
"""1900 and 2100 in epoch seconds: what lies outside is another unit, or no time."""
DELISTED = "YHD"
"""Where Yahoo lists what it has no data for any more."""
SPOKEN = (400, 404, 422)
"""Statuses that the error in the body explains; others speak for themselves."""
COOKIE, CRUMB, QUOTE = "/", "/v1/test/getcrumb", "/v7/finance/quote"
"""Where quotes, and the cookie and the crumb they need, are got."""
LONGEST_CRUMB = 64
CRYPTO = "CRYPTOCURRENCY"
UNLISTED = frozenset({CRYPTO, "CURRENCY", "FUTURE", "INDEX", "OPTION"})
"""Types of what is neither share nor fund."""
THROTTLED = b"Too Many Requests"
NO_DATA = "data doesn't exist for startdate"
"""How Yahoo answers a range before a symbol's first trade: with HTTP 400."""


def refusal(reply: Reply, interval: str = INTERVAL) -> ProviderError | None:
    """The error this answer stands for; None for bars of `interval`, and for the statement that there are none."""
    # Yahoo's edge servers refuse robots with 999, and sometimes throttle with a text under any status.
    if reply.status == 999 or reply.body[: len(THROTTLED)] == THROTTLED:
        return burst_limit(reply, f"HTTP {reply.status}: {reply.excerpt()}")
    if not reply.path.startswith(CHART):
        return _refused_quote(reply)
    if reply.status >= 400:
        return _refused(reply)
    error = refusal_of_status(reply)
    return error if error is not None else _unreadable(reply, reply.json(), interval)


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


def require_kind(instrument: Instrument, kind: str) -> None:
    """Raise BadRequest where Yahoo's type is another kind of thing: BTC is a fund there, Bitcoin is BTC-USD."""
    ours = instrument.asset_type
    listed = ours in (AssetType.STOCK, AssetType.ETF)
    if (ours is AssetType.CRYPTO and kind != CRYPTO) or (listed and kind in UNLISTED):
        problem = f"{instrument.symbol_at('yahoo')} is of type {kind} there, not {ours}: correct its yahoo alias"
        raise BadRequest("yahoo", problem, symbol=instrument.symbol)


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
    if isinstance(error, str) and error:
        return "error", error
    if not isinstance(error, dict):
        return None
    return str(error.get("code", "")), str(error.get("description", ""))


def _meaning(reply: Reply, code: str, description: str) -> ProviderError | None:
    provider, symbol, kind = reply.provider, reply.symbol, code.lower()
    remedy = "check its yahoo alias" if reply.as_asked else "check the symbol"
    said = f"{code}: {description}"
    if NO_DATA in description.lower():
        return None
    if kind == "not found":
        return UnknownSymbol(provider, f"{description or 'no such symbol'}{reply.as_asked}; {remedy}", symbol=symbol)
    if kind == "unauthorized":
        return BadKey(provider, said, symbol=symbol)
    if kind == "too many requests":
        return burst_limit(reply, said)
    if "internal" in kind or "unavailable" in kind:
        return Transient(provider, said, symbol=symbol)
    return BadRequest(provider, said, symbol=symbol)


def _unreadable(reply: Reply, answer: Any, interval: str) -> ProviderError | None:
    """Is a 200 the chart that was asked for, in the documented shape?"""
    said = _said(answer)
    if said is not None:
        return _meaning(reply, *said)
    try:
        result = answer["chart"]["result"][0]
        return _about_another(reply, result["meta"]) or _unusable(reply, result, interval)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError) as error:
        problem = f"the chart lacks {error}" if isinstance(error, KeyError) else "the answer is not a chart"
        return Malformed(reply.provider, problem, symbol=reply.symbol)


def _about_another(reply: Reply, meta: Any) -> ProviderError | None:
    """Yahoo answers a symbol that was given up with the chart of the one that took its place."""
    asked, symbol = unquote(reply.path.removeprefix(CHART)), meta.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        return Malformed(reply.provider, "its meta has no symbol", symbol=reply.symbol)
    return None if symbol.upper() == asked.upper() else renamed(symbol, reply.symbol, asked)


def renamed(now: str, symbol: str | None, asked: str) -> UnknownSymbol:
    """Yahoo knows an instrument by another symbol than the one that it was `asked` for."""
    remedy = f"`financehub instruments rename {symbol} {now}` if it was renamed, else set its yahoo alias"
    if symbol is not None and asked.upper() != symbol.upper():
        remedy = f"correct its yahoo alias, which is {asked}"
    return UnknownSymbol("yahoo", f"Yahoo calls it {now} now: {remedy}", symbol=symbol)


def if_delisted(symbol: str | None) -> str:
    """What to do where Yahoo has dropped an instrument that it had."""
    return f"; if it was delisted: `financehub instruments delist {symbol} --on DATE`"


def _unusable(reply: Reply, result: Any, interval: str) -> ProviderError | None:
    """What is wrong with the chart of the right symbol, by what it says about itself; None where it can be read."""
    meta, prices = result["meta"], result["indicators"]["quote"][0]
    if not result.get("timestamp"):
        if any(prices.values()):
            return Malformed(reply.provider, "it has prices without times", symbol=reply.symbol)
        if meta.get("currency"):
            return None
        listed = meta.get("exchangeName") or DELISTED
        problem = (
            f"Yahoo has no data for this symbol{reply.as_asked} any more (exchange {listed}){if_delisted(reply.symbol)}"
        )
        return UnknownSymbol(reply.provider, problem, symbol=reply.symbol)
    missing = [name for name in META if meta.get(name) is None]
    if not missing and not meta.get("currency"):
        problem = "Yahoo does not say in which currency it is quoted, so that its prices mean nothing"
        return BadRequest(reply.provider, problem, symbol=reply.symbol)
    wrong = f"its meta has no {', '.join(missing)}" if missing else _contradiction(meta, interval) or _ragged(result)
    error = None if wrong is None else Malformed(reply.provider, wrong, symbol=reply.symbol)
    if error is not None and not missing and meta["dataGranularity"] != interval:
        error.retryable = False
    return error


def _contradiction(meta: Any, interval: str) -> str | None:
    """Where what a chart says about itself is not what was asked for, or cannot be so."""
    if meta["dataGranularity"] != interval:
        return f"asked for bars of {interval}, got bars of {meta['dataGranularity']}"
    period = meta["currentTradingPeriod"]["regular"]
    if not all(type(period[edge]) is int for edge in ("start", "end")) or type(meta["regularMarketTime"]) is not int:
        return "its trading period is not in seconds"
    zone, offset = ZoneInfo(meta["exchangeTimezoneName"]), meta.get("gmtoffset")
    year = datetime.fromtimestamp(meta["regularMarketTime"], zone).year
    offsets = [datetime(year, month, 1, tzinfo=zone).utcoffset() for month in range(1, 13)]
    if offset is not None and timedelta(seconds=offset) not in offsets:
        return f"it is {offset} s ahead of UTC, which {zone} never is"
    return None


def _ragged(result: Any) -> str | None:
    """Where columns do not belong together, or no row of them can be read."""
    columns = [result["indicators"]["quote"][0][name] for name in PRICES]
    columns += [part["adjclose"] for part in result["indicators"].get("adjclose") or []]
    rows = len(result["timestamp"])
    if any(len(column) != rows for column in columns):
        return f"its columns are of different length ({counted(rows, 'timestamp')})"
    if not any(is_time(stamp) for stamp in result["timestamp"]):
        return "its timestamps are not in seconds"
    prices = [row for row in zip(*columns[:4], strict=True) if any(price is not None for price in row)]
    if prices and not any(all(price is None or isfinite(known(price)) for price in row) for row in prices):
        return "no row of its prices can be read"
    return None


def is_time(value: object) -> TypeGuard[int]:
    """Can this be epoch seconds?"""
    return type(value) is int and EARLIEST <= value < LATEST
