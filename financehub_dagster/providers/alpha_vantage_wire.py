"""What Alpha Vantage's answers mean.

Belongs here: errors, all of which come as HTTP 200 and are told apart by their words, and the shapes of documents. Does
not belong here: frames. Source: https://www.alphavantage.co/documentation; the words are as seen in answers of 2020-26.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, QuotaSpent, UnknownSymbol
from financehub_dagster.gateway.reply import Reply, burst_limit
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.frames import Action, Bar
from financehub_dagster.providers.reading import Part, Verdict
from financehub_dagster.providers.values import day, maybe, member, number, price, text

NAME = "alpha_vantage"
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
        now = reply.server_time
        until = datetime.combine(now.astimezone(EASTERN).date() + timedelta(days=1), time(), EASTERN).astimezone(UTC)
        wait = (until - now).total_seconds()
        return QuotaSpent(NAME, "the day's calls are used up", symbol=symbol, retry_after=wait, until=until)
    if "premium" in words:
        return NotInPlan(NAME, "only premium keys get this", symbol=symbol)
    if "invalid api call" in words and symbol is not None:
        return UnknownSymbol(NAME, "symbol not found; check its `alpha_vantage` alias", symbol=symbol)
    if "no articles" in words:
        return "usable"
    if "invalid inputs" in words and symbol is not None:
        return UnknownSymbol(NAME, "there is no news under this symbol; check its alias", symbol=symbol)
    return BadRequest(NAME, "the request was refused as invalid", symbol=symbol)


def read_daily(document: Any, of: Instrument) -> list[Bar]:
    """TIME_SERIES_DAILY: prices as traded."""
    return [
        Bar(
            day(label),
            price(member(row, "1. open")),
            price(member(row, "2. high")),
            price(member(row, "3. low")),
            price(member(row, "4. close")),
            number(member(row, "5. volume")),
        )
        for label, row in _series(document, of).items()
    ]


def read_adjusted(document: Any, of: Instrument) -> tuple[list[Bar], list[Action]]:
    """TIME_SERIES_DAILY_ADJUSTED: prices as traded, made split-adjusted here, and the actions they come with."""
    bars, actions = [], []
    for label, row in _series(document, of).items():
        on = day(label)
        bars.append(
            Bar(
                on,
                price(member(row, "1. open")),
                price(member(row, "2. high")),
                price(member(row, "3. low")),
                price(member(row, "4. close")),
                number(member(row, "6. volume")),
                price(member(row, "5. adjusted close")),
            )
        )
        dividend, split = number(member(row, "7. dividend amount")), price(member(row, "8. split coefficient"))
        if dividend > 0:
            actions.append(Action(on, "dividend", dividend))
        if split != 1:
            actions.append(Action(on, "split", split))
    adjusted = split_adjusted(bars, actions)
    return adjusted, [each if each.kind == "split" else _per_share(each, actions) for each in actions]


def read_splits(document: Any) -> list[Action]:
    """SPLITS, of all time."""
    return [
        Action(day(member(row, "effective_date")), "split", price(member(row, "split_factor")))
        for row in member(document, "data")
    ]


def split_adjusted(bars: Iterable[Bar], actions: Sequence[Action]) -> list[Bar]:
    """Prices as traded, on the basis after every split: divided by all that took effect later; volumes multiplied."""
    adjusted = []
    for bar in bars:
        factor = _later(bar.date, actions)
        adjusted.append(
            Bar(
                bar.date,
                bar.open / factor,
                bar.high / factor,
                bar.low / factor,
                bar.close / factor,
                bar.volume * factor,
                bar.adj_close,
            )
        )
    return adjusted


def _per_share(dividend: Action, actions: Sequence[Action]) -> Action:
    """A dividend per share of today's."""
    return Action(dividend.date, dividend.kind, dividend.value / _later(dividend.date, actions))


def _later(on: date, actions: Sequence[Action]) -> float:
    factor = 1.0
    for action in actions:
        if action.kind == "split" and action.date > on:
            factor *= action.value
    return factor


def _series(document: Any, of: Instrument) -> Mapping[str, Any]:
    symbol = member(document, "Meta Data", "2. Symbol")
    _check(symbol, of)
    series = member(document, "Time Series (Daily)")
    if not isinstance(series, Mapping):
        raise ValueError("the answer has no time series")
    return series


def read_quote(document: Any, of: Instrument) -> Part:
    """GLOBAL_QUOTE: of an unknown symbol an empty object. Its time is a session: that one's end, or now."""
    from financehub_dagster.market import calendars

    quote = member(document, "Global Quote")
    if not quote:
        return Part([], {of.symbol: _unknown(of)})
    _check(member(quote, "01. symbol"), of)
    session = day(member(quote, "07. latest trading day"))
    row = {
        "symbol": of.symbol,
        "price": price(member(quote, "05. price")),
        "open": maybe(quote.get("02. open")),
        "high": maybe(quote.get("03. high")),
        "low": maybe(quote.get("04. low")),
        "previous_close": maybe(quote.get("08. previous close")),
        "volume": maybe(quote.get("06. volume")),
        "currency": of.currency,
        "quoted_at": min(calendars.session_close(of, session), datetime.now(UTC)),
    }
    return Part([row])


def read_overview(document: Any, of: Instrument) -> Part:
    """OVERVIEW: all texts; of an unknown symbol, or a fund, an empty object."""
    if document == {}:
        return Part([], {of.symbol: _unknown(of)})
    _check(member(document, "Symbol"), of)
    figures = {ours: maybe(document.get(theirs)) for ours, theirs in OVERVIEW.items()}
    texts = {ours: text(document.get(theirs)) for ours, theirs in (("sector", "Sector"), ("industry", "Industry"))}
    currency = text(document.get("Currency")) or of.currency
    return Part([{"symbol": of.symbol, "currency": currency, **texts, **figures}])


def read_news(document: Any, ours: Mapping[str, str], since: datetime) -> Part:
    """NEWS_SENTIMENT: an article names the symbols it is about; those about none of `ours` are left out."""
    if "feed" not in document and any(name in document for name in SPOKEN):
        return Part([])
    rows = []
    for each in member(document, "feed"):
        published = datetime.strptime(str(member(each, "time_published"))[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        tickers = {str(member(found, "ticker")) for found in each.get("ticker_sentiment", [])}
        symbols = tuple(sorted(ours[ticker] for ticker in tickers if ticker in ours))
        if not symbols or published < since or text(each.get("url")) is None or text(each.get("title")) is None:
            continue
        rows.append(
            {
                "url": each["url"],
                "title": text(each["title"]),
                "summary": text(each.get("summary")),
                "publisher": text(each.get("source")),
                "author": ", ".join(each.get("authors") or []) or None,
                "published_at": published,
                "symbols": symbols,
            }
        )
    return Part(rows)


def read_market_status(document: Any) -> str:
    """MARKET_STATUS in one line."""
    markets = member(document, "markets")
    return f"{len(markets)} markets, the first is {member(markets[0], 'current_status')}"


def _check(symbol: Any, of: Instrument) -> None:
    if str(symbol).upper() != of.symbol_at(NAME).upper():
        raise ValueError(f"asked for {of.symbol_at(NAME)}, got {symbol}")


def _unknown(of: Instrument) -> UnknownSymbol:
    return UnknownSymbol(NAME, "symbol not found; check its `alpha_vantage` alias", symbol=of.symbol)
