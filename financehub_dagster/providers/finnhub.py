"""Finnhub: quotes, fundamentals and news of stocks, and with a paid plan their bars.

Belongs here: the resource, its limits, its questions and what its answers mean. Does not belong here: HTTP and frames.
Source: https://finnhub.io/docs/api (and its swagger file); a free key may send 60 requests a minute and 30 a second.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from financehub_dagster.gateway.api_keys import Auth
from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, UnknownSymbol
from financehub_dagster.gateway.response import Reply, burst_limit
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import Answers, DailyBars, IntradayBars
from financehub_dagster.providers.frames import Bar
from financehub_dagster.providers.intraday import (
    Minutes,
    Range,
    answer,
    asked,
    regular,
    require_range,
    require_readable,
)
from financehub_dagster.providers.items import (
    known,
    last_price,
    read_articles,
    read_bars,
    read_or_none,
    read_text,
    require_any_inside,
)
from financehub_dagster.providers.listings import LISTED, power_of_untold, require_symbol
from financehub_dagster.providers.reading import AnswerRows, Refusal, Tally, VendorRequest, Verdict, unknown_symbol
from financehub_dagster.providers.rest import RestProvider
from financehub_dagster.providers.values import (
    OtherQuestion,
    epoch,
    maybe,
    maybe_price,
    member,
    number,
    session_of,
    text,
)
from financehub_dagster.storage.rate_limits.limiter import Limit
from financehub_dagster.storage.rate_limits.quotas import Quota, Reading

NAME = "finnhub"
PER_SECOND = 30
"""Every plan's hard limit (https://finnhub.io/docs/api/rate-limit)."""
MONTH_SECONDS = 30 * 86_400
"""Of bars within days, one request gives a month (https://finnhub.io/docs/api/stock-candles)."""
MILLIONS, PERCENT, PLAIN = 6, -2, 0
"""Finnhub's units, as powers of ten."""
METRICS = {
    "market_cap": ("marketCapitalization", MILLIONS),
    "pe_ratio": ("peTTM", PLAIN),
    "price_to_book": ("pbQuarterly", PLAIN),
    "price_to_sales": ("psTTM", PLAIN),
    "eps": ("epsTTM", PLAIN),
    "book_value": ("bookValuePerShareQuarterly", PLAIN),
    "dividend_per_share": ("dividendPerShareTTM", PLAIN),
    "dividend_yield": ("currentDividendYieldTTM", PERCENT),
    "profit_margin": ("netProfitMarginTTM", PERCENT),
    "operating_margin": ("operatingMarginTTM", PERCENT),
    "return_on_assets": ("roaTTM", PERCENT),
    "return_on_equity": ("roeTTM", PERCENT),
    "beta": ("beta", PLAIN),
    "high_52w": ("52WeekHigh", PLAIN),
    "low_52w": ("52WeekLow", PLAIN),
}
"""Our columns, Finnhub's metrics and their units."""


def refusal(reply: Reply, document: Any) -> Verdict:
    """Finnhub's own words: an `error` member, whatever the status says."""
    said = document.get("error") if isinstance(document, dict) else None
    if reply.status == 429 or (said and "limit reached" in str(said).lower()):
        return burst_limit(reply, "60 requests a minute are used up on the free plan", _until_reset(reply))
    if not said:
        return None
    words = str(said).lower()
    if reply.status == 401 or "api key" in words:
        return BadKey(NAME, "the key is missing or invalid; check FINNHUB_API_KEYS", symbol=reply.symbol)
    if "access to this resource" in words:
        return NotInPlan(NAME, f"{said} A free key has no such data", symbol=reply.symbol)
    if reply.status >= 500:
        return None
    return BadRequest(NAME, str(said), symbol=reply.symbol)


def _until_reset(reply: Reply) -> float | None:
    """Seconds until the window ends, from X-Ratelimit-Reset (epoch seconds); None without it."""
    resets = reply.headers.get("x-ratelimit-reset", "")
    return max(int(resets) - reply.server_time.timestamp(), 0.0) if resets.isdigit() else None


def read_quote(document: Any, of: Instrument) -> AnswerRows:
    """/quote. An unknown symbol has no error: everything about it is zero. No unit is named (`listings`)."""
    if not number(member(document, "t")):
        return AnswerRows([], {of.symbol: _unknown("has no quote", of)})
    power = power_of_untold(NAME, of)
    row = {
        "symbol": of.symbol,
        "price": last_price(NAME, of, member(document, "c"), power),
        "open": maybe_price(document.get("o"), power),
        "high": maybe_price(document.get("h"), power),
        "low": maybe_price(document.get("l"), power),
        "previous_close": maybe_price(document.get("pc"), power),
        "currency": of.currency,
        "quoted_at": epoch(document["t"]),
    }
    return AnswerRows([row])


def read_metric(document: Any, of: Instrument) -> AnswerRows:
    """/stock/metric. An unknown symbol has no metrics."""
    metric, symbol = member(document, "metric"), str(member(document, "symbol"))
    if not metric:
        return AnswerRows([], {of.symbol: _unknown("has no fundamentals", of)})
    if symbol.upper() != require_symbol(NAME, of).upper():
        raise OtherQuestion(f"asked for {require_symbol(NAME, of)}, got {symbol}")
    figures = {ours: maybe(metric.get(theirs), unit) for ours, (theirs, unit) in METRICS.items()}
    return AnswerRows([{"symbol": of.symbol, "currency": of.currency, **figures}])


def _unknown(problem: str, of: Instrument) -> UnknownSymbol:
    return unknown_symbol(NAME, of.symbol, require_symbol(NAME, of), problem)


def read_news(document: Any, of: Instrument, since: datetime) -> AnswerRows:
    """/company-news. Articles about others, without an address or a headline are left out."""

    def article(each: Any) -> dict[str, Any] | None:
        if not text(each.get("url")) or not text(each.get("headline")) or not _is_about(each, of):
            return None
        return {
            "url": each["url"],
            "title": text(each["headline"]),
            "summary": read_text(each.get("summary")),
            "publisher": read_text(each.get("source")),
            "published_at": read_or_none(epoch, each.get("datetime")),
            "symbols": (of.symbol,),
        }

    return AnswerRows(read_articles(document, article, since))


def _is_about(article: Any, of: Instrument) -> bool:
    """Does `related`, where it says anything, name the instrument?"""
    related = text(article.get("related"))
    return related is None or require_symbol(NAME, of).upper() in related.upper().split(",")


def read_candles(document: Any, of: Instrument, first: date, last: date) -> list[Bar]:
    """/stock/candle of `first` to `last`. Parallel lists; `s` is ok, or no_data. No unit is named (`listings`)."""

    def bar(row: Sequence[Any]) -> Bar:
        return Bar(session_of(row[0], of.timezone), *map(known, row[1:]))

    bars = read_bars(_candles(document), bar, power_of_untold(NAME, of))
    require_any_inside(bars, first, last)
    return bars


def _candles(document: Any) -> list[tuple[Any, ...]]:
    """The rows of parallel lists: time, open, high, low, close, volume."""
    said = member(document, "s")
    if said not in ("ok", "no_data"):
        raise ValueError(f"the candles are {said!r}, not ok")
    return [] if said == "no_data" else list(zip(*(document[name] for name in "tohlcv"), strict=True))


def read_minutes(document: Any, of: Range) -> Minutes:
    """/stock/candle within days, as traded, of the regular sessions; times are epoch seconds."""
    power = power_of_untold(NAME, of.instrument)
    found = Minutes.read(_candles(document), lambda row: (number(row[0]), row[1:]), power)
    require_readable(found)
    require_range(found, of)
    return found.kept(regular(of.instrument, found.opens))


def read_market_status(document: Any) -> str:
    """/stock/market-status in one line."""
    return f"the US market is {'open' if member(document, 'isOpen') else 'closed'}"


class FinnhubProvider(RestProvider):
    """Finnhub counts per key: 60 requests a minute on the free plan, one instrument each, and 30 a second on any."""

    name: ClassVar[str] = NAME
    refused: ClassVar[Refusal] = staticmethod(refusal)
    cheapest: ClassVar[VendorRequest[str]] = VendorRequest(
        "/api/v1/stock/market-status", {"exchange": "US"}, read_market_status
    )
    address: ClassVar[str] = "https://finnhub.io"
    auth: ClassVar[Auth] = Auth(header="X-Finnhub-Token")
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {
        "quotes": LISTED,
        "fundamentals": LISTED,
        "news": LISTED,
        "daily_bars": LISTED,
        "intraday_bars": LISTED,
    }

    requests_per_minute: int = Field(default=60, ge=1, description="Most requests per minute with one key.")

    def limits(self) -> tuple[Limit, ...]:
        """Every plan's."""
        return (Limit("second", PER_SECOND, 1.0),)

    def quotas(self) -> tuple[Quota, ...]:
        """The plan's."""
        return (Quota("minute", self.requests_per_minute, period=60.0),)

    def readings(self, reply: Reply) -> Sequence[Reading]:
        """X-Ratelimit-Remaining, of the minute."""
        left, resets = (reply.headers.get(f"x-ratelimit-{name}", "") for name in ("remaining", "reset"))
        return [Reading("minute", int(left), epoch(int(resets)))] if left.isdigit() and resets.isdigit() else []

    def quotes(self, instruments: Sequence[Instrument]) -> Answers:
        """The last price of each, one request per instrument; volume is not known."""
        return self.ask_each(
            "quotes", instruments, lambda each: _question("/quote", each, partial(read_quote, of=each))
        )

    def fundamentals(self, instruments: Sequence[Instrument]) -> Answers:
        """The metrics of each, one request per instrument."""

        def question(each: Instrument) -> VendorRequest[AnswerRows]:
            return _question("/stock/metric", each, partial(read_metric, of=each), metric="all")

        return self.ask_each("fundamentals", instruments, question)

    def news(self, instruments: Sequence[Instrument], since: datetime) -> Answers:
        """Company news since `since`, one request per instrument; a free key sees one year of North American ones."""
        span = {"from": f"{since.astimezone(UTC):%Y-%m-%d}", "to": f"{datetime.now(UTC):%Y-%m-%d}"}

        def question(each: Instrument) -> VendorRequest[AnswerRows]:
            return _question("/company-news", each, partial(read_news, of=each, since=since), **span)

        return self.ask_each("news", instruments, question)

    def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Finished sessions, split-adjusted; not in the free plan, which answers NotInPlan."""
        tally = Tally()
        self.check("daily_bars", instrument)
        first, last = start - timedelta(days=1), end + timedelta(days=2)
        span = {"from": _seconds(first), "to": _seconds(last), "resolution": "D"}
        read = partial(read_candles, of=instrument, first=first, last=last)
        question = _question("/stock/candle", instrument, read, **span)
        return self.daily(instrument, start, end, self.ask("daily_bars", question, tally), tally)

    def intraday_bars(self, instrument: Instrument, interval: int, start: datetime, end: datetime) -> IntradayBars:
        """Finished bars within regular sessions that open in [start, end); not in the free plan: NotInPlan.

        One request per 30 days, of 1, 5 or 15 minutes, since its hours begin at full hours. Prices are as traded: days
        before a split are on another basis.
        """
        self.check("intraday_bars", instrument)
        whole = asked(NAME, instrument, interval, start, end, hours=False)
        tally, parts = Tally(), []
        for first in range(whole.first, whole.last, MONTH_SECONDS):
            of = Range(instrument, interval, first, min(first + MONTH_SECONDS, whole.last))
            span = {"from": str(of.first), "to": str(of.last - 1), "resolution": str(interval)}
            question = _question("/stock/candle", instrument, partial(read_minutes, of=of), **span)
            parts.append(self.ask("intraday_bars", question, tally))
        return answer(whole, Minutes.joined(parts), NAME, tally.calls, tally.reply)


def _question[T](path: str, of: Instrument, read: Callable[[Any], T], **params: str) -> VendorRequest[T]:
    return VendorRequest(f"/api/v1{path}", {"symbol": require_symbol(NAME, of), **params}, read, of.symbol)


def _seconds(day: date) -> str:
    return str(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()))
