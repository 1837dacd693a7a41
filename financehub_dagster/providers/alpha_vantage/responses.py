"""What Alpha Vantage's answers mean.

Belongs here: errors, all of which come as HTTP 200 and are told apart by their words, and the shapes of documents. Does
not belong here: frames. Source: https://www.alphavantage.co/documentation; the words are as seen in answers of 2020-26.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, UnknownSymbol
from financehub_dagster.gateway.response import Reply, burst_limit
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.frames import Action, Bar
from financehub_dagster.providers.intraday import Minutes, Range, regular, require_readable, told_in
from financehub_dagster.providers.items import (
    known,
    last_price,
    read_articles,
    read_bars,
    read_or_none,
    read_text,
    require_any_inside,
)
from financehub_dagster.providers.listings import power_of_untold, require_symbol
from financehub_dagster.providers.reading import AnswerRows, Verdict, quota_spent, unknown_symbol
from financehub_dagster.providers.values import OtherQuestion, day, instant, maybe, maybe_price, member, text
from financehub_dagster.wording import counted

NAME = "alpha_vantage"
TRADED = ("1. open", "2. high", "3. low", "4. close", "5. volume")
EASTERN = ZoneInfo("America/New_York")
SPOKEN = ("Error Message", "Information", "Note")
"""Where the words of an error stand."""
BURST = ("sparingly", "per second", "per minute")
"""These come before "per day": the words about bursts mention the day's limit as well."""
OVERVIEW = {
    "market_cap": "MarketCapitalization",
    "shares_outstanding": "SharesOutstanding",
    "pe_ratio": "PERatio",
    "forward_pe": "ForwardPE",
    "peg_ratio": "PEGRatio",
    "price_to_book": "PriceToBookRatio",
    "price_to_sales": "PriceToSalesRatioTTM",
    "eps": "DilutedEPSTTM",
    "book_value": "BookValue",
    "dividend_per_share": "DividendPerShare",
    "dividend_yield": "DividendYield",
    "profit_margin": "ProfitMargin",
    "operating_margin": "OperatingMarginTTM",
    "return_on_assets": "ReturnOnAssetsTTM",
    "return_on_equity": "ReturnOnEquityTTM",
    "revenue": "RevenueTTM",
    "ebitda": "EBITDA",
    "beta": "Beta",
    "high_52w": "52WeekHigh",
    "low_52w": "52WeekLow",
}
"""Our columns, and what the overview calls them."""


def refusal(reply: Reply, document: Any) -> Verdict:
    """The error that the words stand for; they are never passed on, because some repeat the key."""
    said = next((document[name] for name in SPOKEN if name in document), None) if isinstance(document, dict) else None
    if said is None:
        return None
    words, symbol = str(said).lower(), reply.symbol
    if "apikey is invalid" in words or ("apikey" in words and "missing" in words):
        return BadKey(NAME, "the key is missing or invalid; check ALPHA_VANTAGE_API_KEYS", symbol=symbol)
    if any(sign in words for sign in BURST):
        return burst_limit(reply, "too many calls at once")
    if "per day" in words:
        tomorrow = reply.server_time.astimezone(EASTERN).date() + timedelta(days=1)
        until = datetime.combine(tomorrow, time(), EASTERN).astimezone(UTC)
        return quota_spent(reply, until, "the day's calls are used up")
    if "premium" in words:
        return NotInPlan(NAME, "only premium keys get this", symbol=symbol)
    if "invalid api call" in words and symbol is not None:
        return unknown_symbol(NAME, symbol, reply.asked)
    if "no articles" in words:
        return "usable"
    if "invalid inputs" in words and symbol is not None:
        return UnknownSymbol(NAME, f"there is no news about it{reply.as_asked}; check its alias", symbol=symbol)
    return BadRequest(NAME, "the request was refused as invalid", symbol=symbol)


def read_daily(document: Any, of: Instrument) -> list[Bar]:
    """TIME_SERIES_DAILY: prices as traded. No unit is named (`listings`)."""
    return _until_now(read_bars(_series(document, of).items(), _bar(TRADED), power_of_untold(NAME, of)))


def read_fx_daily(document: Any, pair: tuple[str, str]) -> list[Bar]:
    """FX_DAILY of a pair of currencies."""
    meta = member(document, "Meta Data")
    told = (str(member(meta, "2. From Symbol")), str(member(meta, "3. To Symbol")))
    if told != pair:
        raise OtherQuestion(f"asked for {'/'.join(pair)}, got {'/'.join(told)}")
    series = _series_at(document, "Time Series FX (Daily)")
    return _until_now(read_bars(series.items(), _bar(TRADED[:4], volume=0.0)))


def read_adjusted(document: Any, of: Instrument) -> tuple[list[Bar], list[Action]]:
    """TIME_SERIES_DAILY_ADJUSTED: prices as traded, made split-adjusted here, and the actions they come with.

    Where prices are in pence nobody knows the unit of dividends: those are left out.
    """
    power, series = power_of_untold(NAME, of), _series(document, of)
    bars = _until_now(read_bars(series.items(), _bar((*TRADED[:4], "6. volume", "5. adjusted close")), power))
    actions: list[Action] = []
    for label, row in series.items():
        on = read_or_none(day, label)
        dividend, split = (_of_action(row, name) for name in ("7. dividend amount", "8. split coefficient"))
        if on is not None and dividend > 0 and not power:
            actions.append(Action(on, "dividend", dividend))
        if on is not None and split > 0 and split != 1:
            actions.append(Action(on, "split", split))
    per_share = [  # of today's
        each if each.kind == "split" else replace(each, value=each.value / _later(each.date, actions))
        for each in actions
    ]
    return split_adjusted(bars, actions), per_share


def _bar(names: Sequence[str], **untold: float) -> Callable[[tuple[str, Any]], Bar]:
    """Reads a day and its row, which has a bar's numbers under `names`; `untold` are those that it does not have."""

    def read(labelled: tuple[str, Any]) -> Bar:
        label, row = labelled
        return Bar(day(label), *(known(row.get(name)) for name in names), **untold)

    return read


def _until_now(bars: list[Bar]) -> list[Bar]:
    """These bars, unless all of them are of days to come; the vendor is told no range."""
    require_any_inside(bars, date.min, datetime.now(UTC).date() + timedelta(days=1))
    return bars


def _of_action(row: Any, name: str) -> float:
    """A number of a row; NaN, which is no action, where it cannot be read."""
    return known(row.get(name)) if isinstance(row, Mapping) else math.nan


def read_splits(document: Any) -> list[Action]:
    """SPLITS, of all time. One whose factor cannot be read is NaN, and so are prices before it; one undated is none."""
    splits = []
    for row in member(document, "data"):
        on = read_or_none(lambda of: day(member(of, "effective_date")), row)
        if on is not None:
            factor = known(row.get("split_factor"))
            splits.append(Action(on, "split", factor if factor > 0 else math.nan))
    return splits


def split_adjusted(bars: Iterable[Bar], actions: Sequence[Action]) -> list[Bar]:
    """Prices as traded, on the basis after every split: divided by all that took effect later; volumes multiplied."""
    adjusted = []
    for bar in bars:
        factor = _later(bar.date, actions)
        opened, high, low, close = (price / factor for price in (bar.open, bar.high, bar.low, bar.close))
        adjusted.append(Bar(bar.date, opened, high, low, close, bar.volume * factor, bar.adj_close))
    return adjusted


def _later(on: date, actions: Sequence[Action]) -> float:
    return math.prod((action.value for action in actions if action.kind == "split" and action.date > on), start=1.0)


def _series(document: Any, of: Instrument) -> Mapping[str, Any]:
    symbol = member(document, "Meta Data", "2. Symbol")
    _check(symbol, of)
    about = str(document["Meta Data"].get("1. Information", "Daily"))
    if not about.startswith("Daily"):
        raise OtherQuestion(f"asked for daily prices, got {about}")
    return _series_at(document, "Time Series (Daily)")


def _series_at(document: Any, name: str) -> Mapping[str, Any]:
    series = member(document, name)
    if not isinstance(series, Mapping):
        raise ValueError("the answer has no time series")
    return series


def read_minutes(document: Any, of: Range) -> Minutes:
    """TIME_SERIES_INTRADAY, unadjusted: prices as traded, of the regular sessions.

    The zone of its times stands in the answer. Bars before and after the market are left out, which come unasked.
    """
    meta, name = member(document, "Meta Data"), f"{of.interval}min"
    _check(member(meta, "2. Symbol"), of.instrument)
    interval, zone = member(meta, "4. Interval"), str(member(meta, "6. Time Zone"))
    if interval != name:
        raise OtherQuestion(f"asked for bars of {name}, got bars of {interval}")
    series, power = _series_at(document, f"Time Series ({name})"), power_of_untold(NAME, of.instrument)

    def bar(labelled: tuple[str, Any]) -> tuple[float, list[Any]]:
        label, row = labelled
        return instant(label).timestamp(), [row.get(each) for each in TRADED]

    found = Minutes.read(series.items(), bar, power)
    found = Minutes(told_in(found.opens, zone), found.columns)
    require_readable(found)
    return found.kept(regular(of.instrument, found.opens))


def split_adjusted_minutes(found: Minutes, zone: ZoneInfo, actions: Sequence[Action]) -> Minutes:
    """Prices as traded, on the basis after every split; volumes multiplied."""
    import numpy as np

    columns = found.columns.copy()
    for split in actions:
        if split.kind == "split":
            begins = datetime.combine(split.date, time(), zone).timestamp()
            earlier = found.opens < begins
            columns[:4, earlier] /= split.value
            columns[4, earlier] *= split.value
    return Minutes(found.opens, np.asarray(columns))


def read_quote(document: Any, of: Instrument) -> AnswerRows:
    """GLOBAL_QUOTE: of an unknown symbol an empty object. Its time is a session: that one's end, or now."""
    from financehub_dagster.market import calendars

    quote = member(document, "Global Quote")
    if not quote:
        return AnswerRows([], {of.symbol: unknown_symbol(NAME, of.symbol, require_symbol(NAME, of))})
    _check(member(quote, "01. symbol"), of)
    session, power = day(member(quote, "07. latest trading day")), power_of_untold(NAME, of)
    row = {
        "symbol": of.symbol,
        "price": last_price(NAME, of, member(quote, "05. price"), power),
        "open": maybe_price(quote.get("02. open"), power),
        "high": maybe_price(quote.get("03. high"), power),
        "low": maybe_price(quote.get("04. low"), power),
        "previous_close": maybe_price(quote.get("08. previous close"), power),
        "volume": maybe(quote.get("06. volume")),
        "currency": of.currency,
        "quoted_at": min(calendars.session_close(of, session), datetime.now(UTC)),
    }
    return AnswerRows([row])


def read_overview(document: Any, of: Instrument) -> AnswerRows:
    """OVERVIEW: all texts; of an unknown symbol, or a fund, an empty object."""
    if document == {}:
        return AnswerRows([], {of.symbol: unknown_symbol(NAME, of.symbol, require_symbol(NAME, of))})
    _check(member(document, "Symbol"), of)
    figures = {ours: maybe(document.get(theirs)) for ours, theirs in OVERVIEW.items()}
    texts = {ours: text(document.get(theirs)) for ours, theirs in (("sector", "Sector"), ("industry", "Industry"))}
    currency = text(document.get("Currency")) or of.currency
    return AnswerRows([{"symbol": of.symbol, "currency": currency, **texts, **figures}])


def read_news(document: Any, ours: Mapping[str, str], since: datetime) -> AnswerRows:
    """NEWS_SENTIMENT: an article names the symbols it is about; those about none of `ours` are left out."""
    if "feed" not in document and any(name in document for name in SPOKEN):
        return AnswerRows([])

    def article(each: Any) -> dict[str, Any] | None:
        tickers = {read_or_none(_ticker, found) for found in each.get("ticker_sentiment") or []}
        symbols = tuple(sorted(ours[ticker] for ticker in tickers if ticker is not None and ticker in ours))
        if not symbols or text(each.get("url")) is None or text(each.get("title")) is None:
            return None
        return {
            "url": each["url"],
            "title": text(each["title"]),
            "summary": read_text(each.get("summary")),
            "publisher": read_text(each.get("source")),
            "author": read_or_none(_authors, each.get("authors")),
            "published_at": read_or_none(_published, each.get("time_published")),
            "symbols": symbols,
        }

    return AnswerRows(read_articles(member(document, "feed"), article, since))


def _ticker(found: Any) -> str:
    return str(member(found, "ticker"))


def _authors(listed: Any) -> str | None:
    """Each is a text; a single one may stand for the list."""
    names = [listed] if isinstance(listed, str) else listed or []
    return ", ".join(filter(None, map(text, names))) or None


def _published(value: Any) -> datetime:
    return datetime.strptime(str(value)[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def read_market_status(document: Any) -> str:
    """MARKET_STATUS in one line; it costs one of the day's requests."""
    markets = member(document, "markets")
    return f"{counted(len(markets), 'market')}, the first is {member(markets[0], 'current_status')}"


def _check(symbol: Any, of: Instrument) -> None:
    asked = require_symbol(NAME, of)
    if str(symbol).upper() != asked.upper():
        raise OtherQuestion(f"asked for {asked}, got {symbol}")
