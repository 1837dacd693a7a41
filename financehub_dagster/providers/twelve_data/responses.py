"""What Twelve Data's answers mean.

Belongs here: error codes, and the documents that differ between one symbol and several. Does not belong here: frames.
Source: https://twelvedata.com/docs and its OpenAPI description. The HTTP status may be the code, or 200.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from financehub_dagster.gateway.errors import BadKey, BadRequest, NotInPlan, ProviderError, Transient
from financehub_dagster.gateway.response import Reply, burst_limit
from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import items
from financehub_dagster.providers.frames import Bar
from financehub_dagster.providers.intraday import (
    COLUMNS,
    Minutes,
    Range,
    in_utc,
    regular,
    require_range,
    require_readable,
)
from financehub_dagster.providers.listings import (
    is_listed_there,
    mic_at,
    power_of_told,
    power_of_untold,
    require_symbol,
)
from financehub_dagster.providers.reading import AnswerRows, Verdict, each_of, quota_spent, unknown_symbol, until_next
from financehub_dagster.providers.values import OtherQuestion, day, epoch, instant, maybe, maybe_price, member, text

NAME = "twelve_data"
PAIRS = (AssetType.CRYPTO, AssetType.FX)
WITHOUT_VOLUME = (*PAIRS, AssetType.INDEX)
INTERVALS = {1: "1min", 5: "5min", 15: "15min", 60: "1h"}
"""By minutes; hours begin with the session."""
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
    return require_symbol(NAME, instrument)


def params_of(instrument: Instrument) -> dict[str, str]:
    """What names one instrument: its symbol, and outside of the United States its market."""
    mic = mic_at(NAME, instrument)
    return {"symbol": symbol_of(instrument), **({} if mic is None else {"mic_code": mic})}


def refusal(reply: Reply, document: Any) -> Verdict:
    """Twelve Data's words: code, message and a status that is error."""
    if not isinstance(document, dict) or document.get("status") != "error":
        return None
    return "usable" if no_data(document) else meaning(reply, document)


def meaning(reply: Reply, error: Mapping[str, Any]) -> ProviderError:
    """An error object, which may stand for the whole answer or for one symbol of a batch."""
    code, said, symbol = str(error.get("code", "")), str(error.get("message", "")), reply.symbol
    words = said.lower()
    if code == "429" and "for the day" in words:
        return quota_spent(reply, until_next("day", reply.server_time), "the day's credits are used up")
    if code == "429":
        left = (until_next("minute", reply.server_time) - reply.server_time).total_seconds()
        return burst_limit(reply, "the minute's credits are used up", left)
    if code == "401" or "apikey" in words:
        return BadKey(NAME, "the key is missing or invalid; check TWELVE_DATA_API_KEYS", symbol=symbol)
    if code == "403" or "available starting with" in words:
        return NotInPlan(NAME, "the plan does not include this", symbol=symbol)
    if ("not found" in words and "symbol" in words) or code == "404":
        return unknown_symbol(NAME, symbol, reply.asked)
    if code.isdigit() and int(code) >= 500:
        return Transient(NAME, f"{said} ({code})", symbol=symbol, retry_after=reply.retry_after)
    return BadRequest(NAME, f"{said} ({code})", symbol=symbol)


def no_data(document: Any) -> bool:
    """Does the answer say that the symbol has no bars in the range? It is written as an error."""
    return isinstance(document, dict) and "no data is available" in str(document.get("message", "")).lower()


def read_bars(document: Any, of: Instrument, first: date, last: date) -> list[Bar]:
    """/time_series of one symbol from `first` to `last`, as split-adjusted days.

    Pairs and indices have no volume, or none that is told: 0, as everywhere.
    """
    if no_data(document):
        return []
    meta = member(document, "meta")
    interval = member(meta, "interval")
    if interval != "1day":
        raise OtherQuestion(f"asked for days, got bars of {interval}")
    power = _check(meta, of)

    def bar(row: Any) -> Bar:
        opened, high, low, close = (items.known(row.get(name)) for name in ("open", "high", "low", "close"))
        traded = row.get("volume")
        volume = 0.0 if traded is None and without_volume else items.known(traded)
        return Bar(day(member(row, "datetime")), opened, high, low, close, volume)

    without_volume = of.asset_type in WITHOUT_VOLUME
    bars = items.read_bars(member(document, "values"), bar, power)
    items.require_any_inside(bars, first, last)
    return bars


def read_minutes(document: Any, of: Range) -> Minutes:
    """/time_series of one symbol, asked for in UTC, as split-adjusted bars within the regular sessions."""
    if no_data(document):
        return Minutes.joined([])
    meta = member(document, "meta")
    interval = member(meta, "interval")
    if interval != INTERVALS[of.interval]:
        raise OtherQuestion(f"asked for bars of {INTERVALS[of.interval]}, got bars of {interval}")
    power = _check(meta, of.instrument)
    without_volume = of.instrument.asset_type in WITHOUT_VOLUME

    def bar(row: Any) -> tuple[float, list[Any]]:
        opened, (*prices, traded) = instant(member(row, "datetime")), [row.get(name) for name in COLUMNS]
        return opened.timestamp(), [*prices, 0.0 if traded is None and without_volume else traded]

    found = Minutes.read(member(document, "values"), bar, power)
    found = Minutes(in_utc(found.opens, of), found.columns)
    require_readable(found)
    require_range(found, of)
    return found.kept(regular(of.instrument, found.opens))


@dataclass(frozen=True)
class Batch:
    """/time_series of several symbols, by ours: bars, how many rows the answer had of each, and errors."""

    minutes: Mapping[str, Minutes]
    sizes: Mapping[str, int]
    failed: Mapping[str, ProviderError]


def read_batch(document: Any, of: Mapping[str, Range]) -> Batch:
    """/time_series of several symbols, an object by symbol whose members may be errors."""
    if not isinstance(document, Mapping):
        raise ValueError("the answer is not an object by symbol")
    minutes: dict[str, Minutes] = {}

    def row(instrument: Instrument, series: Any) -> dict[str, Any]:
        if isinstance(series, Mapping) and series.get("status") == "error" and not no_data(series):
            raise meaning(_part("/time_series", instrument), series)
        minutes[instrument.symbol] = read_minutes(series, of[symbol_of(instrument)])
        return {"symbol": instrument.symbol, "size": 0 if no_data(series) else len(series["values"])}

    part = each_of(NAME, {name: each.instrument for name, each in of.items()}, document, row)
    return Batch(minutes, {each["symbol"]: each["size"] for each in part.rows}, part.failed)


def _part(path: str, of: Instrument) -> Reply:
    """What the answer about many says of one of them."""
    return Reply(NAME, path, 200, {}, b"", of.symbol, asked=":".join(params_of(of).values()))


def read_quotes(document: Any, of: Mapping[str, Instrument]) -> AnswerRows:
    """/quote: of one symbol the quote itself, of several an object by symbol, whose members may be errors."""
    if not isinstance(document, Mapping):
        raise ValueError("the answer is not an object by symbol")
    members = {next(iter(of)): document} if len(of) == 1 else document

    def row(instrument: Instrument, quote: Any) -> dict[str, Any]:
        if isinstance(quote, Mapping) and quote.get("status") == "error":
            raise meaning(_part("/quote", instrument), quote)
        power = _check(quote, instrument)
        return {
            "symbol": instrument.symbol,
            "price": items.last_price(NAME, instrument, member(quote, "close"), power),
            "open": maybe_price(quote.get("open"), power),
            "high": maybe_price(quote.get("high"), power),
            "low": maybe_price(quote.get("low"), power),
            "previous_close": maybe_price(quote.get("previous_close"), power),
            "volume": maybe(quote.get("volume")),
            "currency": instrument.currency,
            "quoted_at": epoch(quote.get("last_quote_at") or member(quote, "timestamp")),
        }

    return each_of(NAME, of, members, row)


def read_statistics(document: Any, of: Instrument) -> AnswerRows:
    """/statistics: margins and returns are fractions already."""
    _check(member(document, "meta"), of)
    statistics = member(document, "statistics")
    figures: dict[str, Any] = {}
    for ours, path in STATISTICS.items():
        found = statistics
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        figures[ours] = maybe(found)
    return AnswerRows([{"symbol": of.symbol, "currency": of.currency, **figures}])


def usage_in_words(document: Any) -> str:
    """/api_usage in one line."""
    used, limit = (int(member(document, name)) for name in ("current_usage", "plan_limit"))
    return f"{used} of {limit} credits used this minute"


def _check(about: Any, of: Instrument) -> int:
    """The power of ten from prices to the instrument's currency, once all that is said fits the instrument."""
    told, asked = member(about, "symbol"), symbol_of(of)
    if str(told).upper() not in (asked.upper(), asked.partition(":")[0].upper()):
        raise OtherQuestion(f"asked for {asked}, got {told}")
    if of.asset_type in PAIRS:
        return power_of_told(NAME, of, asked.rpartition("/")[2]) if "/" in asked else 0
    mic, kind, currency, zone = (
        text(about.get(name)) for name in ("mic_code", "type", "currency", "exchange_timezone")
    )
    if mic is None and zone is not None and zone != exchanges()[of.exchange].timezone:
        problem = f"answers about {told} of a market in {zone}, not of {of.exchange}: correct its `{NAME}` alias"
        raise BadRequest(NAME, problem, symbol=of.symbol)
    if mic is not None and not is_listed_there(of, mic):
        remedy = f"add the market to its `{NAME}` alias (SYMBOL:EXCHANGE)"
        raise BadRequest(NAME, f"answers about {told} of {mic}, not of {of.exchange}: {remedy}", symbol=of.symbol)
    if kind is not None and (kind == "Index") != (of.asset_type is AssetType.INDEX):
        problem = f"{told} is of type {kind} there, not {of.asset_type}: correct its `{NAME}` alias"
        raise BadRequest(NAME, problem, symbol=of.symbol)
    return power_of_untold(NAME, of) if currency is None else power_of_told(NAME, of, currency)
