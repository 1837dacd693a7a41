"""What Binance's answers mean.

Belongs here: statuses, error codes, weights, and the shape of a kline. Does not belong here: frames.
Source: https://developers.binance.com/docs/binance-spot-api-docs (REST API, errors, limits).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Malformed,
    NotInPlan,
    ProviderError,
    Transient,
    UnknownSymbol,
)
from financehub_dagster.gateway.response import Reply, banned, burst_limit, refusal_of_status
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.items import last_price
from financehub_dagster.providers.reading import AnswerRows, each_of
from financehub_dagster.providers.values import epoch, maybe, maybe_price, member, number

WEIGHTS = {"klines": 2, "exchangeInfo": 20, "ping": 1, "24hr": 80}
"""24hr: of all symbols at once, which no single one can fail."""
HEAVIEST = 80
SHORTEST_BAN = 120.0
"""Bans last from 2 minutes to 3 days."""
FULL = 0.95
"""From this share of the minute's weight on, by Binance's own count, we wait for the next minute."""
TRADING = "TRADING"
"""Status of a pair with current prices; any other (BREAK, HALT) has its history only (Binance, enum definitions)."""

UNKNOWN_SYMBOL = -1121
TOO_MANY_REQUESTS = -1003
MOMENTARY = {-1000, -1001, -1006, -1007, -1008, -1016}
"""Unknown error, disconnected, unexpected response, timeout, overloaded, shutting down."""
KEY = {-2014, -2015, -1002}
"""Bad key format, key or permissions refused, unauthorized."""
MICROSECONDS = 10**14
"""Times from here on are in microseconds, as in Binance's archives since 2025 (in milliseconds: the year 5138)."""


@dataclass(frozen=True, slots=True)
class Step:
    """A length of klines: the vendor's name for it, in milliseconds, and in words."""

    name: str
    millis: int
    words: str


DAY = Step("1d", 86_400_000, "daily klines")
STEPS = {
    minutes: Step(name, 60_000 * minutes, f"klines of {name}")
    for minutes, name in ((1, "1m"), (5, "5m"), (15, "15m"), (60, "1h"))
}
"""By minutes."""

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


def weight(path: str) -> int:
    """What a request to `path` costs."""
    return WEIGHTS[path.rsplit("/", 1)[-1]]


def pause(reply: Reply, weight_per_minute: int) -> float:
    """Seconds until Binance's count of this minute begins anew, once it is nearly full, whoever filled it."""
    used = reply.headers.get("x-mbx-used-weight-1m", "")
    if not used.isdigit() or int(used) < FULL * weight_per_minute:
        return 0.0
    return 60.0 - reply.server_time.timestamp() % 60.0


def refusal(reply: Reply, step: Step = DAY) -> ProviderError | None:
    """The error this answer stands for; None for a usable one. step: of the klines that were asked for."""
    code, message = _said(reply)
    if 200 <= reply.status < 300 and code is None:
        return _unreadable(reply, step)
    if reply.status == 418 or (code == TOO_MANY_REQUESTS and "banned" in message):
        return banned(reply, f"this address is banned ({message})", _ban_seconds(message, reply.server_time))
    if reply.status == 429 or code == TOO_MANY_REQUESTS:
        return burst_limit(reply, message)
    if reply.status == 451:
        remedy = "Binance does not serve this country; set BINANCE_BASE_URL=https://data-api.binance.vision"
        return NotInPlan(reply.provider, remedy, symbol=reply.symbol)
    if reply.status in (401, 403) or reply.status >= 500:
        return refusal_of_status(reply)
    if reply.status == 404:
        return BadRequest(reply.provider, "no such address there; check BINANCE_BASE_URL", symbol=reply.symbol)
    if code == UNKNOWN_SYMBOL:
        problem = f"{message.rstrip('.')}{reply.as_asked}; check its `binance` alias"
        return UnknownSymbol(reply.provider, problem, symbol=reply.symbol)
    if code in MOMENTARY:
        return Transient(reply.provider, f"{message} ({code})", symbol=reply.symbol, retry_after=reply.retry_after)
    if code in KEY:
        return BadKey(reply.provider, f"{message} ({code})", symbol=reply.symbol)
    if code is not None:
        return BadRequest(reply.provider, f"{message} ({code})", symbol=reply.symbol)
    return refusal_of_status(reply)


def _said(reply: Reply) -> tuple[int | None, str]:
    """Code and message of the error body; None and the body's beginning where it is not Binance's."""
    if not reply.body.lstrip().startswith(b"{"):  # rows, which are many, are parsed once
        return None, f"HTTP {reply.status}: {reply.excerpt()}"
    try:
        answer = reply.json()
    except Malformed:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("code"), int):
        return None, f"HTTP {reply.status}: {reply.excerpt()}"
    return answer["code"], str(answer.get("msg", ""))


def _ban_seconds(message: str, now: datetime) -> float:
    """Until the end that the message names, by Binance's own clock; the shortest ban where it names none."""
    found = _BANNED_UNTIL.search(message)
    if found is None:
        return SHORTEST_BAN
    return max(int(found[1]) / 1000 - now.timestamp(), 0.0)


def _unreadable(reply: Reply, step: Step) -> ProviderError | None:
    answer = reply.json()
    endpoint = reply.path.rsplit("/", 1)[-1]
    problem = None
    if endpoint == "klines":
        problem = _kline_problem(answer, step)
    elif endpoint == "24hr" and not isinstance(answer, list):
        problem = "the answer is not a list of tickers"
    elif endpoint == "exchangeInfo" and not (isinstance(answer, dict) and isinstance(answer.get("symbols"), list)):
        problem = "exchangeInfo lists no symbols"
    return None if problem is None else Malformed(reply.provider, problem, symbol=reply.symbol)


def _kline_problem(answer: Any, step: Step) -> str | None:
    """What is wrong with all of an answer; numbers of single klines are judged with the bars they make."""
    if not isinstance(answer, list):
        return f"expected a list of klines, got {type(answer).__name__}"
    for row in answer:
        if not (isinstance(row, list) and len(row) >= 7 and type(row[0]) is type(row[6]) is int):
            return f"not a kline: {str(row)[:80]}"
        if row[0] % step.millis:
            return f"one of {step.words} opens at {row[0]}, which is not where one begins"
    if answer and not any(all(math.isfinite(decimal(value)) for value in row[1:6]) for row in answer):
        return f"a kline's numbers cannot be read: {answer[0][1:6]}"
    return None


def in_milliseconds(page: list[list[Any]]) -> list[list[Any]]:
    """Klines whose times may all be in microseconds, in milliseconds."""
    if not page or any(row[0] < MICROSECONDS for row in page):
        return page
    return [[row[0] // 1000, *row[1:6], row[6] // 1000, *row[7:]] for row in page]


def other_question(page: list[list[Any]], first: int, last: int, step: Step) -> str | None:
    """What shows that klines answer another question than for those of `step` that open from `first` to `last` (ms).

    One may close early: so it did where maintenance began within it (binance-public-data#77).
    """
    for row in page:
        if not first <= row[0] <= last:
            return f"asked for klines from {first} to {last} (ms), got one that opens at {row[0]}"
        if not 0 <= row[6] - row[0] < step.millis:
            return f"asked for {step.words}, got one that opens at {row[0]} and closes at {row[6]}"
    return None


def read_pairs(document: Any) -> dict[tuple[str, str], tuple[str, bool]]:
    """exchangeInfo, by base and quote asset: the pair's symbol and whether it trades; incomplete pairs are left out."""
    pairs: dict[tuple[str, str], tuple[str, bool]] = {}
    for each in member(document, "symbols"):
        if isinstance(each, Mapping) and {"baseAsset", "quoteAsset", "symbol"} <= each.keys():
            found = (str(each["symbol"]), each.get("status") == TRADING)
            pairs[str(each["baseAsset"]), str(each["quoteAsset"])] = found
    return pairs


def read_tickers(document: Any, of: Mapping[str, Instrument]) -> AnswerRows:
    """ticker/24hr of type MINI, by pair: the last 24 hours; volume is in units of the crypto."""

    def row(instrument: Instrument, ticker: Any) -> dict[str, Any]:
        return {
            "symbol": instrument.symbol,
            "price": last_price("binance", instrument, member(ticker, "lastPrice")),
            "open": maybe_price(ticker.get("openPrice")),
            "high": maybe_price(ticker.get("highPrice")),
            "low": maybe_price(ticker.get("lowPrice")),
            "volume": maybe(ticker.get("volume")),
            "currency": instrument.currency,
            "quoted_at": epoch(number(member(ticker, "closeTime")) / 1000),
        }

    named = {str(each.get("symbol")): each for each in document if isinstance(each, Mapping)}
    return each_of("binance", of, {name: ticker for name, ticker in named.items() if name in of}, row)


def decimal(value: Any) -> float:
    """The double nearest to a decimal, which Binance sends as a string; NaN for anything else."""
    try:
        found = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan
