"""Twelve Data's documents out of the sample market.

Belongs here: shapes and number formats of the answers. Does not belong here: endpoints, parameters, credits, refusals
(twelve_data). Numbers are strings, a bar is labelled by its open, the newest comes first; cryptos have no volume.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.companies import company
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import Floats
from financehub_dagster.sandbox.market.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    from financehub_dagster.sandbox.market.minutes import Bars

INTERVALS = {
    "1min": 60, "5min": 300, "15min": 900, "30min": 1800, "45min": 2700, "1h": 3600, "2h": 7200, "4h": 14_400,
    "8h": 28_800, "1day": 86_400, "1week": 604_800, "1month": 2_592_000,
}  # fmt: skip
_TYPES = {AssetType.ETF: "ETF", AssetType.INDEX: "Index"}
_WITHOUT_VOLUME = (AssetType.CRYPTO, AssetType.FX, AssetType.INDEX)
NO_DATA = "No data is available on the specified dates. Try setting different start/end dates."
_EXCHANGES = {"XNAS": ("NASDAQ", "XNGS"), "XNYS": ("NYSE", "XNYS"), "ARCX": ("NYSE", "ARCX")}


@dataclass(frozen=True, slots=True)
class SeriesRequest:
    """Parameters of a time series; first and last are UTC epoch seconds, both included, None where open.

    Times are asked for in `zone` and answered in that of `labels`.
    """

    interval: str
    first: float | None
    last: float | None
    size: int
    zone: ZoneInfo
    labels: ZoneInfo
    order: str
    decimals: int


def time_series(
    market: Market, instrument: Instrument, asked: SeriesRequest, *, unadjusted: bool
) -> tuple[dict[str, Any], str] | str:
    """/time_series of one symbol and its origin, or in words why there is none."""
    bars: History | Bars
    if asked.interval == "1day":
        bars = _days(market.daily(instrument), asked, unadjusted=unadjusted)
        labels = bars.date.astype(str).tolist()
    else:
        seconds = INTERVALS[asked.interval]
        if seconds >= INTERVALS["1day"]:
            return f"The sandbox has no {asked.interval} bars of {instrument.symbol}; ask for 1day."
        first, last = (0.0 if asked.first is None else asked.first), (asked.last or market.now())
        bars = market.intraday(instrument, seconds, first, last, vendor="twelve_data", limit=asked.size, newest=True)
        labels = [f"{datetime.fromtimestamp(at, asked.labels):%Y-%m-%d %H:%M:%S}" for at in bars.open_time.tolist()]
    if not len(bars):
        return NO_DATA
    columns = {name: _strings(getattr(bars, name), asked.decimals) for name in ("open", "high", "low", "close")}
    if instrument.asset_type not in _WITHOUT_VOLUME:
        columns["volume"] = _strings(bars.volume, 0)
    columns = {"datetime": labels, **columns}
    values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    body = {
        "meta": _meta(instrument, asked.interval),
        "values": values if asked.order.lower() == "asc" else values[::-1],
        "status": "ok",
    }
    return body, bars.origin


def _days(history: History, asked: SeriesRequest, *, unadjusted: bool) -> History:
    """The newest days asked for; a day is asked for by its date, whatever the zone."""
    days = history.date.astype("datetime64[s]").astype(np.int64)
    first = 0 if asked.first is None else int(np.searchsorted(days, _local(asked.first, asked.zone), side="left"))
    last = len(days) if asked.last is None else int(np.searchsorted(days, _local(asked.last, asked.zone), side="right"))
    return (history.as_traded() if unadjusted else history)[max(first, last - asked.size) : last]


def _local(at: float, zone: ZoneInfo) -> float:
    """UTC epoch seconds as if the clock on the wall at `zone` were UTC's."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=UTC).timestamp()


def _meta(instrument: Instrument, interval: str) -> dict[str, Any]:
    if instrument.asset_type is AssetType.CRYPTO:
        return {
            "symbol": name_of(instrument),
            "interval": interval,
            "currency_base": instrument.name,
            "currency_quote": "US Dollar",
            "exchange": "Coinbase Pro",
            "type": "Digital Currency",
        }
    if instrument.asset_type is AssetType.FX:
        base, _, quoted = name_of(instrument).partition("/")
        pair = {"currency_base": base, "currency_quote": quoted, "type": "Physical Currency"}
        return {"symbol": name_of(instrument), "interval": interval, **pair}
    exchange, mic = _EXCHANGES.get(instrument.exchange, (instrument.exchange, instrument.exchange))
    return {
        "symbol": name_of(instrument),
        "interval": interval,
        "currency": instrument.currency,
        "exchange_timezone": instrument.timezone,
        "exchange": exchange,
        "mic_code": mic,
        "type": _TYPES.get(instrument.asset_type, "Common Stock"),
    }


def quote(market: Market, instrument: Instrument, decimals: int) -> tuple[dict[str, Any], str] | None:
    """/quote of one symbol and its origin; None before its first session."""
    found = snapshot(market, instrument)
    if found is None:
        return None
    general = {
        name: value for name, value in _meta(instrument, "1day").items() if name in ("exchange", "mic_code", "currency")
    }
    volumes = {"volume": f"{found.volume:.0f}", "average_volume": f"{found.average_volume:.0f}"}
    crypto = instrument.asset_type in (AssetType.CRYPTO, AssetType.FX)
    body = {
        "symbol": name_of(instrument),
        "name": f"{instrument.name} US Dollar" if crypto else instrument.name,
        **general,
        "datetime": found.date.isoformat(),
        "timestamp": _opened(instrument, found),
        "last_quote_at": found.time,
        "open": f"{found.open:.{decimals}f}",
        "high": f"{found.high:.{decimals}f}",
        "low": f"{found.low:.{decimals}f}",
        "close": f"{found.price:.{decimals}f}",
        **({} if crypto else volumes),
        "previous_close": f"{found.previous_close:.{decimals}f}",
        "change": f"{found.change:.{decimals}f}",
        "percent_change": f"{found.percent:.5f}",
        "is_market_open": found.is_open,
        "fifty_two_week": _year(found, decimals),
    }
    return body, found.origin


def _year(found: Snapshot, decimals: int) -> dict[str, str]:
    low, high, price = found.year_low, found.year_high, found.price
    return {
        "low": f"{low:.{decimals}f}",
        "high": f"{high:.{decimals}f}",
        "low_change": f"{price - low:.{decimals}f}",
        "high_change": f"{price - high:.{decimals}f}",
        "low_change_percent": f"{100 * (price / low - 1):.5f}",
        "high_change_percent": f"{100 * (price / high - 1):.5f}",
        "range": f"{low:.6f} - {high:.6f}",
    }


def _opened(instrument: Instrument, found: Snapshot) -> int:
    """The session's midnight at the exchange, which is what a day's bar is labelled with."""
    return int(datetime.combine(found.date, time(), ZoneInfo(instrument.timezone)).timestamp())


def price(market: Market, instrument: Instrument, decimals: int) -> tuple[dict[str, Any], str] | None:
    """/price of one symbol."""
    found = snapshot(market, instrument)
    return None if found is None else ({"price": f"{found.price:.{decimals}f}"}, found.origin)


def end_of_day(market: Market, instrument: Instrument, decimals: int) -> tuple[dict[str, Any], str] | None:
    """/eod of one symbol: the last finished session."""
    history = market.daily(instrument)
    finished = history[history.closes <= market.now()]
    if not len(finished):
        return None
    day = str(finished.date[-1])
    body = {
        **{
            name: value
            for name, value in _meta(instrument, "1day").items()
            if name in ("symbol", "exchange", "mic_code", "currency")
        },
        "datetime": day,
        "timestamp": int(finished.closes[-1]),
        "close": f"{finished.close[-1]:.{decimals}f}",
    }
    return body, finished[-1:].origin


def statistics(market: Market, instrument: Instrument) -> dict[str, Any] | None:
    """/statistics of one company; None for what is none."""
    found = company(market, instrument)
    if found is None:
        return None
    general = ("symbol", "currency", "exchange", "mic_code", "exchange_timezone")
    meta = {name: value for name, value in _meta(instrument, "1day").items() if name in general}
    price_ = found.snapshot.price
    return {
        "meta": {**meta, "name": instrument.name},
        "statistics": {
            "valuations_metrics": {
                "market_capitalization": round(found.market_cap),
                "enterprise_value": round(found.market_cap * 1.1),
                "trailing_pe": found.pe,
                "forward_pe": found.pe,
                "peg_ratio": found.peg,
                "price_to_sales_ttm": found.market_cap / found.revenue,
                "price_to_book_mrq": price_ / found.book_value,
            },
            "financials": {
                "fiscal_year_ends": f"{found.latest_quarter.year - 1}-12-31",
                "most_recent_quarter": found.latest_quarter.isoformat(),
                "gross_margin": found.gross_profit / found.revenue,
                "profit_margin": found.profit_margin,
                "operating_margin": found.operating_margin,
                "return_on_assets_ttm": found.return_on_equity / 3,
                "return_on_equity_ttm": found.return_on_equity,
                "income_statement": {
                    "revenue_ttm": found.revenue,
                    "revenue_per_share_ttm": found.revenue / found.shares,
                    "gross_profit_ttm": found.gross_profit,
                    "diluted_eps_ttm": found.eps,
                    "quarterly_earnings_growth_yoy": found.growth,
                },
            },
            "stock_statistics": {"shares_outstanding": found.shares, "float_shares": None},
            "stock_price_summary": {
                "fifty_two_week_low": found.snapshot.year_low,
                "fifty_two_week_high": found.snapshot.year_high,
                "beta": found.beta,
                "day_50_ma": found.averages[0],
                "day_200_ma": found.averages[1],
            },
            "dividends_and_splits": {
                "forward_annual_dividend_rate": found.dividend_per_share or None,
                "forward_annual_dividend_yield": found.dividend_yield or None,
                "ex_dividend_date": None if found.ex_dividend is None else found.ex_dividend.isoformat(),
                "last_split_factor": None if found.last_split is None else f"{found.last_split[1]}-for-1 split",
                "last_split_date": None if found.last_split is None else found.last_split[0].isoformat(),
            },
        },
    }


def stocks(carried: Mapping[str, Instrument]) -> dict[str, Any]:
    """/stocks: what is listed."""
    rows = [
        {"name": each.name, "country": "United States", "cfi_code": "", **_meta(each, "1day"), "symbol": name}
        for name, each in carried.items()
        if each.asset_type is AssetType.STOCK
    ]
    return {"data": rows, "status": "ok"}


def name_of(instrument: Instrument) -> str:
    """How requests and answers name an instrument: cryptos are pairs with a slash."""
    if instrument.asset_type is AssetType.CRYPTO and "twelve_data" not in instrument.aliases:
        return f"{instrument.symbol}/{instrument.currency}"
    return instrument.symbol_at("twelve_data")


def _strings(values: Floats, decimals: int) -> list[str]:
    return [f"{value:.{decimals}f}" for value in values.tolist()]
