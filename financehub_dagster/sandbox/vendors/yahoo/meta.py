"""The names and the `meta` block that Yahoo puts around its numbers.

Belongs here: Yahoo's codes and the description of an instrument in a chart. Does not belong here: bars and events.
"""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.exchanges import NO_MARKET
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.sessions import Sessions

#: MIC to (exchangeName, fullExchangeName), as seen in recorded charts.
EXCHANGE_NAMES = {
    "XNAS": ("NMS", "NasdaqGS"),
    "XNYS": ("NYQ", "NYSE"),
    "ARCX": ("PCX", "NYSEArca"),
    "XETR": ("GER", "XETRA"),
    NO_MARKET: ("CCC", "CCC"),
}
_LONDON = ZoneInfo("Europe/London")
QUOTE_TYPES = {
    AssetType.STOCK: "EQUITY",
    AssetType.ETF: "ETF",
    AssetType.INDEX: "INDEX",
    AssetType.FX: "CURRENCY",
    AssetType.CRYPTO: "CRYPTOCURRENCY",
}
VALID_RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")

#: US extended hours: 04:00 to 09:30 and 16:00 to 20:00.
_PRE_SECONDS = 19_800
_POST_SECONDS = 14_400


def shortest(value: float) -> float | None:
    """The shortest decimal of the float32 next to `value`, as `meta` and quotes show prices; None for NaN."""
    return float(str(np.float32(value))) if np.isfinite(value) else None


def exchange_name(instrument: Instrument) -> tuple[str, str]:
    """Yahoo's code and name of where an instrument is traded."""
    if instrument.asset_type is AssetType.FX:
        return "CCY", "CCY"
    return EXCHANGE_NAMES.get(instrument.exchange, (instrument.exchange, instrument.exchange))


def zone_of(instrument: Instrument) -> ZoneInfo:
    """The zone whose days an instrument's bars are: of currencies London's."""
    return _LONDON if instrument.asset_type is AssetType.FX else ZoneInfo(instrument.timezone)


def day_labels(instrument: Instrument, history: History) -> NDArray[np.int64]:
    """The times by which daily bars are labelled: the session's open, of currencies midnight in London."""
    if instrument.asset_type is not AssetType.FX:
        return history.opens
    midnights = [datetime.combine(day, time(), _LONDON).timestamp() for day in history.date.tolist()]
    return np.array(midnights, np.int64)


def chart_meta(instrument: Instrument, history: History, sessions: Sessions, now: float) -> dict[str, object]:
    """Everything but previous close, granularity and range; `history` is whole and may be empty."""
    zone = zone_of(instrument)
    local = datetime.fromtimestamp(now, UTC).astimezone(zone)
    offset = local.utcoffset()
    gmtoffset = int(offset.total_seconds()) if offset else 0
    code, name = exchange_name(instrument)
    meta: dict[str, object] = {
        "currency": instrument.currency,
        "symbol": instrument.symbol_at("yahoo"),
        "exchangeName": code,
        "fullExchangeName": name,
        "instrumentType": QUOTE_TYPES[instrument.asset_type],
        "firstTradeDate": int(history.opens[0]) if len(history) else None,
        "regularMarketTime": None,
        "hasPrePostMarketData": instrument.exchange != NO_MARKET,
        "gmtoffset": gmtoffset,
        "timezone": local.tzname(),
        "exchangeTimezoneName": zone.key,
    }
    if len(history):
        meta |= {
            "regularMarketTime": int(min(now, history.closes[-1])),
            "regularMarketPrice": shortest(history.close[-1]),
            "fiftyTwoWeekHigh": shortest(np.nanmax(history.high[-252:])),
            "fiftyTwoWeekLow": shortest(np.nanmin(history.low[-252:])),
            "regularMarketDayHigh": shortest(history.high[-1]),
            "regularMarketDayLow": shortest(history.low[-1]),
            "regularMarketVolume": int(np.nan_to_num(history.volume[-1])),
        }
    period = _current_period(instrument, sessions, now, str(local.tzname()), gmtoffset)
    return meta | {
        "longName": instrument.name,
        "shortName": instrument.name,
        "priceHint": 2,
        "currentTradingPeriod": period,
        "validRanges": VALID_RANGES,
    }


def _current_period(
    instrument: Instrument, sessions: Sessions, now: float, timezone: str, gmtoffset: int
) -> dict[str, dict[str, object]]:
    """Pre, regular and post market of the session that runs at `now` or comes next."""
    row = int(np.searchsorted(sessions.closes, now, side="right"))
    opens, closes = int(sessions.opens[row]), int(sessions.closes[row])
    if instrument.asset_type is AssetType.FX:
        today = datetime.fromtimestamp(now, _LONDON).date()
        opens, closes = (int(datetime.combine(today, at, _LONDON).timestamp()) for at in (time(), time(23, 59)))
    extended = instrument.exchange != NO_MARKET
    bounds = {
        "pre": (opens - _PRE_SECONDS * extended, opens),
        "regular": (opens, closes),
        "post": (closes, closes + _POST_SECONDS * extended),
    }
    return {
        name: {"timezone": timezone, "start": start, "end": end, "gmtoffset": gmtoffset}
        for name, (start, end) in bounds.items()
    }
