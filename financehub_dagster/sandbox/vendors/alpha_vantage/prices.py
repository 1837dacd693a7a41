"""Alpha Vantage's documents about prices.

Belongs here: shapes and number formats of bars and quotes. Does not belong here: parameters, limits, refusals
(routes), or documents about companies (reports). Numbers are strings, four decimals for prices;
daily prices are as traded, so not adjusted for later splits; times are US/Eastern without a zone; the newest bar comes
first.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.minutes import Bars
from financehub_dagster.sandbox.market.recordings import Prices
from financehub_dagster.sandbox.market.snapshot import snapshot

EASTERN = ZoneInfo("America/New_York")
_ZONE = "US/Eastern"
_FIELDS = ("1. open", "2. high", "3. low", "4. close")


def daily(symbol: str, history: History, size: str, adjusted: bool) -> dict[str, Any]:
    """TIME_SERIES_DAILY, or TIME_SERIES_DAILY_ADJUSTED with adjusted close, dividend and split coefficient."""
    days, raw = history.date.astype(str).tolist(), history.as_traded()
    rows, paid_out = _rows(days, raw), history.dividend_adjusted()
    for place, row in enumerate(rows.values()):
        if adjusted:
            row |= {
                "5. adjusted close": f"{paid_out[place]:.4f}",
                "6. volume": whole_text(raw.volume[place]),
                "7. dividend amount": f"{history.dividend[place]:.4f}",
                "8. split coefficient": f"{history.split[place]:.1f}",
            }
        else:
            row["5. volume"] = whole_text(raw.volume[place])
    kind = (
        "Daily Time Series with Splits and Dividend Events"
        if adjusted
        else "Daily Prices (open, high, low, close) and Volumes"
    )
    meta = {
        "1. Information": kind,
        "2. Symbol": symbol,
        "3. Last Refreshed": days[-1] if days else "",
        "4. Output Size": "Full size" if size == "full" else "Compact",
        "5. Time Zone": _ZONE,
    }
    return {"Meta Data": meta, "Time Series (Daily)": dict(reversed(rows.items()))}


def fx_daily(base: str, quoted: str, history: History, size: str) -> dict[str, Any]:
    """FX_DAILY: without a volume."""
    rows = _rows(history.date.astype(str).tolist(), history, decimals=5)
    meta = {
        "1. Information": "Forex Daily Prices (open, high, low, close)",
        "2. From Symbol": base,
        "3. To Symbol": quoted,
        "4. Output Size": "Full size" if size == "full" else "Compact",
        "5. Last Refreshed": next(reversed(rows), ""),
        "6. Time Zone": "UTC",
    }
    return {"Meta Data": meta, "Time Series FX (Daily)": dict(reversed(rows.items()))}


def intraday(symbol: str, bars: Bars, interval: str, size: str) -> dict[str, Any]:
    """TIME_SERIES_INTRADAY by the start of each bar, as Eastern time without a zone."""
    labels = [f"{datetime.fromtimestamp(at, EASTERN):%Y-%m-%d %H:%M:%S}" for at in bars.open_time.tolist()]
    rows = _rows(labels, bars)
    for label, volume in zip(labels, bars.volume, strict=True):
        rows[label]["5. volume"] = whole_text(volume)
    meta = {
        "1. Information": f"Intraday ({interval}) open, high, low, close prices and volume",
        "2. Symbol": symbol,
        "3. Last Refreshed": labels[-1] if labels else "",
        "4. Interval": interval,
        "5. Output Size": "Full size" if size == "full" else "Compact",
        "6. Time Zone": _ZONE,
    }
    return {"Meta Data": meta, f"Time Series ({interval})": dict(reversed(rows.items()))}


def _rows(labels: list[str], bars: Prices, decimals: int = 4) -> dict[str, dict[str, str]]:
    """The prices of each bar by its label, the oldest first."""
    columns = (bars.open, bars.high, bars.low, bars.close)
    return {
        label: {field: f"{column[place]:.{decimals}f}" for field, column in zip(_FIELDS, columns, strict=True)}
        for place, label in enumerate(labels)
    }


def global_quote(market: Market, symbol: str, instrument: Instrument | None) -> tuple[dict[str, Any], str]:
    """GLOBAL_QUOTE and its origin; an object without members for an unknown symbol."""
    quote = None if instrument is None else snapshot(market, instrument)
    if quote is None:
        return {"Global Quote": {}}, "none"
    body = {
        "01. symbol": symbol,
        "02. open": f"{quote.open:.4f}",
        "03. high": f"{quote.high:.4f}",
        "04. low": f"{quote.low:.4f}",
        "05. price": f"{quote.price:.4f}",
        "06. volume": whole_text(quote.volume),
        "07. latest trading day": quote.date.isoformat(),
        "08. previous close": f"{quote.previous_close:.4f}",
        "09. change": f"{quote.change:.4f}",
        "10. change percent": f"{quote.percent:.4f}%",
    }
    return {"Global Quote": body}, quote.origin


def whole_text(value: float) -> str:
    """A whole number, or `nan` as Python writes what a test made missing."""
    return f"{value:.0f}"
