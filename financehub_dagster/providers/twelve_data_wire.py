"""What Twelve Data's answers mean.

Belongs here: error codes, and the documents that differ between one symbol and several. Does not belong here: frames.
Source: https://twelvedata.com/docs and its OpenAPI description. The HTTP status may be the code, or 200.
"""

from collections.abc import Mapping
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
from financehub_dagster.gateway.reply import Reply, burst_limit
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers.base import Window
from financehub_dagster.providers.frames import Bar
from financehub_dagster.providers.reading import Part, Verdict, each_of, quota_spent, until_next
from financehub_dagster.providers.values import day, epoch, maybe, member, number, price, text

NAME = "twelve_data"
PAIRS = (AssetType.CRYPTO, AssetType.FX)
STATISTICS = {
    "market_cap": ("valuations_metrics", "market_capitalization"),
    "pe_ratio": ("valuations_metrics", "trailing_pe"),
    "forward_pe": ("valuations_metrics", "forward_pe"),
    "peg_ratio": ("valuations_metrics", "peg_ratio"),
    "price_to_book": ("valuations_metrics", "price_to_book_mrq"),
    "price_to_sales": ("valuations_metrics", "price_to_sales_ttm"),
    "profit_margin": ("financials", "profit_margin"),
    "operating_margin": ("financials", "operating_margin"),
    "return_on_assets": ("financials", "return_on_assets_ttm"),
    "return_on_equity": ("financials", "return_on_equity_ttm"),
    "revenue": ("financials", "income_statement", "revenue_ttm"),
    "ebitda": ("financials", "income_statement", "ebitda"),
    "eps": ("financials", "income_statement", "diluted_eps_ttm"),
    "book_value": ("financials", "balance_sheet", "book_value_per_share_mrq"),
    "shares_outstanding": ("stock_statistics", "shares_outstanding"),
    "beta": ("stock_price_summary", "beta"),
    "high_52w": ("stock_price_summary", "fifty_two_week_high"),
    "low_52w": ("stock_price_summary", "fifty_two_week_low"),
    "dividend_per_share": ("dividends_and_splits", "trailing_annual_dividend_rate"),
    "dividend_yield": ("dividends_and_splits", "trailing_annual_dividend_yield"),
}
"""Our columns, and where the statistics hold them."""


def symbol_of(instrument: Instrument) -> str:
    """Cryptos and currencies are pairs: BTC/USD."""
    if instrument.asset_type is AssetType.CRYPTO and NAME not in instrument.aliases:
        return f"{instrument.symbol}/{instrument.currency}"
    return instrument.symbol_at(NAME)


def refusal(reply: Reply, document: Any) -> Verdict:
    """Twelve Data's words: code, message and a status that is error."""
    if not isinstance(document, dict) or document.get("status") != "error":
        return None
    return "usable" if no_data(document) else meaning(reply, document)


def meaning(reply: Reply, error: Mapping[str, Any], symbol: str | None = None) -> ProviderError:
    """An error object, which may stand for the whole answer or for one symbol of a batch."""
    code, said, symbol = str(error.get("code", "")), str(error.get("message", "")), symbol or reply.symbol
    words = said.lower()
    if code == "429" and "for the day" in words:
        return quota_spent(reply, "day", "the day's credits are used up")
    if code == "429":
        wait = reply.retry_after
        if wait is None:
            wait = (until_next("minute", reply.server_time) - reply.server_time).total_seconds()
        headers = {**reply.headers, "retry-after": str(wait)}
        later = Reply(NAME, reply.path, reply.status, headers, reply.body, symbol)
        return burst_limit(later, "the minute's credits are used up")
    if code == "401" or "apikey" in words:
        return BadKey(NAME, "the key is missing or invalid; check TWELVE_DATA_API_KEYS", symbol=symbol)
    if code == "403" or "available starting with" in words:
        return NotInPlan(NAME, "the plan does not include this", symbol=symbol)
    if ("not found" in words and "symbol" in words) or code == "404":
        return UnknownSymbol(NAME, "symbol not found; check its `twelve_data` alias", symbol=symbol)
    if code.isdigit() and int(code) >= 500:
        return Transient(NAME, f"{said} ({code})", symbol=symbol, retry_after=reply.retry_after)
    return BadRequest(NAME, f"{said} ({code})", symbol=symbol)


def no_data(document: Any) -> bool:
    """Does the answer say that the symbol has no bars in the range? It is written as an error."""
    return isinstance(document, dict) and "no data is available" in str(document.get("message", "")).lower()


def read_bars(document: Any, of: Instrument) -> list[Bar]:
    """/time_series of one symbol, as split-adjusted days; pairs have no volume."""
    if no_data(document):
        return []
    symbol, currency = member(document, "meta", "symbol"), document["meta"].get("currency")
    _check(symbol, currency, of)
    volume = number if of.asset_type not in PAIRS else maybe
    return [
        Bar(
            day(member(row, "datetime")),
            price(member(row, "open")),
            price(member(row, "high")),
            price(member(row, "low")),
            price(member(row, "close")),
            volume(row.get("volume")),
        )
        for row in member(document, "values")
    ]


def read_quotes(document: Any, of: Mapping[str, Instrument]) -> Part:
    """/quote: of one symbol the quote itself, of several an object by symbol, whose members may be errors."""
    if not isinstance(document, Mapping):
        raise ValueError("the answer is not an object by symbol")
    members = {next(iter(of)): document} if len(of) == 1 else document

    def row(instrument: Instrument, quote: Any) -> dict[str, Any]:
        if isinstance(quote, Mapping) and quote.get("status") == "error":
            raise meaning(Reply(NAME, "/quote", 200, {}, b""), quote, instrument.symbol)
        _check(member(quote, "symbol"), quote.get("currency"), instrument)
        return {
            "symbol": instrument.symbol,
            "price": price(member(quote, "close")),
            "open": maybe(quote.get("open")),
            "high": maybe(quote.get("high")),
            "low": maybe(quote.get("low")),
            "previous_close": maybe(quote.get("previous_close")),
            "volume": maybe(quote.get("volume")),
            "currency": instrument.currency,
            "quoted_at": epoch(quote.get("last_quote_at") or member(quote, "timestamp")),
        }

    return each_of(NAME, of, members, row)


def read_statistics(document: Any, of: Instrument) -> Part:
    """/statistics: margins and returns are fractions already."""
    _check(member(document, "meta", "symbol"), document["meta"].get("currency"), of)
    statistics = member(document, "statistics")
    figures: dict[str, Any] = {}
    for ours, path in STATISTICS.items():
        found = statistics
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        figures[ours] = maybe(found)
    return Part([{"symbol": of.symbol, "currency": of.currency, **figures}])


def read_usage(document: Any) -> tuple[Window, ...]:
    """/api_usage: credits of the minute, and of the day where the plan has a daily limit."""
    minute = Window("minute", int(member(document, "current_usage")), int(member(document, "plan_limit")))
    if "daily_usage" not in document:
        return (minute,)
    limit = document.get("plan_daily_limit")
    return (minute, Window("day", int(document["daily_usage"]), None if limit is None else int(limit)))


def usage_in_words(document: Any) -> str:
    """/api_usage in one line."""
    minute = read_usage(document)[0]
    return f"{minute.used} of {minute.limit} credits used this minute"


def _check(symbol: Any, currency: Any, of: Instrument) -> None:
    """Is this the symbol, and the currency, that was asked for?"""
    if str(symbol).upper() != symbol_of(of).upper():
        raise Malformed(NAME, f"asked for {symbol_of(of)}, got {symbol}", symbol=of.symbol)
    if text(currency) is not None and of.asset_type not in PAIRS and currency != of.currency:
        remedy = "correct the instrument's currency or its twelve_data alias"
        raise BadRequest(NAME, f"is quoted in {currency}, not in {of.currency}: {remedy}", symbol=of.symbol)
