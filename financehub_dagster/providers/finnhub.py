"""Finnhub: quotes, fundamentals and news of stocks, and with a paid plan their daily bars.

Belongs here: the resource, its limits, its questions and what its answers mean. Does not belong here: HTTP and frames.
Source: https://finnhub.io/docs/api (and its swagger file); a free key may send 60 requests a minute and 30 a second.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, UnknownSymbol
from financehub_dagster.gateway.keys import Auth
from financehub_dagster.gateway.reply import Reply, burst_limit
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import ConnectionReport, DailyBars, Fundamentals, News, Quotes
from financehub_dagster.providers.frames import FUNDAMENTALS, NEWS, QUOTES, Bar, actions_table, bars_table
from financehub_dagster.providers.reading import Part, Question, Tally, Verdict
from financehub_dagster.providers.rest import RestProvider
from financehub_dagster.providers.values import epoch, maybe, member, number, price, session_of, text
from financehub_dagster.storage.limits import Limit
from financehub_dagster.storage.quotas import Quota, Reading

NAME = "finnhub"
STOCKS = frozenset({AssetType.STOCK, AssetType.ETF})
PER_SECOND = 30
"""Every plan's hard limit (https://finnhub.io/docs/api/rate-limit)."""
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
        return burst_limit(_with_reset(reply), "60 requests a minute are used up on the free plan")
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


def _with_reset(reply: Reply) -> Reply:
    """Without Retry-After, X-Ratelimit-Reset (epoch seconds) says when the window ends."""
    resets = reply.headers.get("x-ratelimit-reset", "")
    if reply.retry_after is not None or not resets.isdigit():
        return reply
    wait = max(int(resets) - reply.server_time.timestamp(), 0.0)
    headers = {**reply.headers, "retry-after": str(wait)}
    return Reply(reply.provider, reply.path, reply.status, headers, reply.body, reply.symbol)


def read_quote(document: Any, of: Instrument) -> Part:
    """/quote. An unknown symbol has no error: everything about it is zero."""
    if not number(member(document, "t")):
        return Part([], {of.symbol: UnknownSymbol(NAME, "has no quote; check its `finnhub` alias", symbol=of.symbol)})
    row = {
        "symbol": of.symbol,
        "price": price(member(document, "c")),
        "open": maybe(document.get("o")),
        "high": maybe(document.get("h")),
        "low": maybe(document.get("l")),
        "previous_close": maybe(document.get("pc")),
        "currency": of.currency,
        "quoted_at": epoch(document["t"]),
    }
    return Part([row])


def read_metric(document: Any, of: Instrument) -> Part:
    """/stock/metric. An unknown symbol has no metrics."""
    metric, symbol = member(document, "metric"), str(member(document, "symbol"))
    if not metric:
        problem = "has no fundamentals; check its `finnhub` alias"
        return Part([], {of.symbol: UnknownSymbol(NAME, problem, symbol=of.symbol)})
    if symbol.upper() != of.symbol_at(NAME).upper():
        raise ValueError(f"asked for {of.symbol_at(NAME)}, got {symbol}")
    figures = {ours: maybe(metric.get(theirs), unit) for ours, (theirs, unit) in METRICS.items()}
    return Part([{"symbol": of.symbol, "currency": of.currency, **figures}])


def read_news(document: Any, of: Instrument, since: datetime) -> Part:
    """/company-news. Articles about others, without an address or a headline are left out."""
    if not isinstance(document, list):
        raise ValueError("the answer is not a list of articles")
    rows = [
        {
            "url": each["url"],
            "title": text(each["headline"]),
            "summary": text(each.get("summary")),
            "publisher": text(each.get("source")),
            "published_at": epoch(each["datetime"]),
            "symbols": (of.symbol,),
        }
        for each in document
        if text(each.get("url")) and text(each.get("headline")) and _is_about(each, of)
    ]
    return Part([row for row in rows if row["published_at"] >= since])


def _is_about(article: Any, of: Instrument) -> bool:
    """Does `related`, where it says anything, name the instrument?"""
    related = text(article.get("related"))
    return related is None or of.symbol_at(NAME).upper() in related.upper().split(",")


def read_candles(document: Any, of: Instrument) -> list[Bar]:
    """/stock/candle. Parallel lists; `s` is no_data where there are none."""
    if member(document, "s") == "no_data":
        return []
    columns = [document[name] for name in "tohlcv"]
    return [
        Bar(session_of(t, of.timezone), price(o), price(h), price(low), price(c), number(v))
        for t, o, h, low, c, v in zip(*columns, strict=True)
    ]


def read_market_status(document: Any) -> str:
    """/stock/market-status in one line."""
    return f"the US market is {'open' if member(document, 'isOpen') else 'closed'}"


class FinnhubProvider(RestProvider):
    """Finnhub counts per key: 60 requests a minute on the free plan, one instrument each, and 30 a second on any."""

    name: ClassVar[str] = NAME
    address: ClassVar[str] = "https://finnhub.io"
    auth: ClassVar[Auth] = Auth(header="X-Finnhub-Token")
    serves: ClassVar[Mapping[str, frozenset[AssetType]]] = {
        "quotes": STOCKS,
        "fundamentals": STOCKS,
        "news": STOCKS,
        "daily_bars": STOCKS,
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

    def refused(self, reply: Reply, document: Any) -> Verdict:
        """Finnhub's words."""
        return refusal(reply, document)

    def quotes(self, instruments: Sequence[Instrument]) -> Quotes:
        """The last price of each, one request per instrument; volume is not known."""
        return Quotes(**vars(self.ask_in_parts("quotes", instruments, _quote_parts, QUOTES)))

    def fundamentals(self, instruments: Sequence[Instrument]) -> Fundamentals:
        """The metrics of each, one request per instrument."""
        return Fundamentals(**vars(self.ask_in_parts("fundamentals", instruments, _metric_parts, FUNDAMENTALS)))

    def news(self, instruments: Sequence[Instrument], since: datetime) -> News:
        """Company news since `since`, one request per instrument; a free key sees one year of North American ones."""

        def parts(served: Sequence[Instrument]) -> Iterable[tuple[Sequence[Instrument], Question[Part]]]:
            span = {"from": f"{since.astimezone(UTC):%Y-%m-%d}", "to": f"{datetime.now(UTC):%Y-%m-%d}"}
            for each in served:
                yield [each], _question("/company-news", each, partial(read_news, of=each, since=since), **span)

        return News(**vars(self.ask_news(instruments, parts, NEWS)))

    def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Finished sessions, split-adjusted; not in the free plan, which answers NotInPlan."""
        tally = Tally()
        span = {"from": _seconds(start - timedelta(days=1)), "to": _seconds(end + timedelta(days=2)), "resolution": "D"}
        question = _question("/stock/candle", instrument, partial(read_candles, of=instrument), **span)
        self.check("daily_bars", instrument)
        bars = self.ask("daily_bars", question, tally)
        table = bars_table(bars, instrument, start, end, tally.clock)
        return DailyBars(instrument.symbol, table, actions_table([], start, end), NAME, datetime.now(UTC), tally.calls)

    def test_connection(self) -> ConnectionReport:
        """Whether New York is open, by Finnhub's reckoning; raises ProviderError."""
        question = Question("/api/v1/stock/market-status", {"exchange": "US"}, read_market_status)
        return self.connection(question)


def _quote_parts(served: Sequence[Instrument]) -> Iterable[tuple[Sequence[Instrument], Question[Part]]]:
    for each in served:
        yield [each], _question("/quote", each, partial(read_quote, of=each))


def _metric_parts(served: Sequence[Instrument]) -> Iterable[tuple[Sequence[Instrument], Question[Part]]]:
    for each in served:
        yield [each], _question("/stock/metric", each, partial(read_metric, of=each), metric="all")


def _question[T](path: str, of: Instrument, read: Callable[[Any], T], **params: str) -> Question[T]:
    return Question(f"/api/v1{path}", {"symbol": of.symbol_at(NAME), **params}, read, of.symbol)


def _seconds(day: date) -> str:
    return str(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()))
