"""Yahoo chart documents made to measure."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
OPENS, CLOSES = time(9, 30), time(16, 0)


def at(day: date, clock: time, zone: ZoneInfo = NEW_YORK) -> int:
    """Epoch seconds of a wall-clock time."""
    return int(datetime.combine(day, clock, zone).timestamp())


def chart(
    days: list[date],
    *,
    symbol: str = "AAPL",
    currency: str = "USD",
    last_trade: datetime | None = None,
    period: tuple[int, int] | None = None,
    events: dict[str, Any] | None = None,
    stamps: list[int] | None = None,
    instrument_type: str = "EQUITY",
    **columns: list[Any],
) -> dict[str, Any]:
    """A chart whose n-th bar is 10+n, 12+n, 9+n, 11+n; the market last traded after the last day's close."""
    n = range(len(days))
    last = max(days, default=date(2024, 1, 2))
    quote = {
        "open": [10.0 + i for i in n],
        "high": [12.0 + i for i in n],
        "low": [9.0 + i for i in n],
        "close": [11.0 + i for i in n],
        "volume": [1000 + i for i in n],
    } | {name: values for name, values in columns.items() if name != "adjclose"}
    opens, closes = period or (at(last, OPENS), at(last, CLOSES))
    result: dict[str, Any] = {
        "meta": {
            "currency": currency,
            "symbol": symbol,
            "instrumentType": instrument_type,
            "exchangeTimezoneName": "America/New_York",
            "timezone": "EST",
            "gmtoffset": -18000,
            "regularMarketTime": int(last_trade.timestamp()) if last_trade else closes + 1,
            "priceHint": 2,
            "dataGranularity": "1d",
            "currentTradingPeriod": {
                name: {"timezone": "EST", "gmtoffset": -18000, "start": opens, "end": closes}
                for name in ("pre", "regular", "post")
            },
            "validRanges": ["1d", "max"],
        },
        "timestamp": stamps or [at(day, OPENS) for day in days],
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": columns.get("adjclose", quote["close"])}]},
    }
    if events:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def http_date(moment: datetime) -> str:
    """RFC 9110, section 5.6.7."""
    return f"{moment.astimezone(UTC):%a, %d %b %Y %H:%M:%S} GMT"


def weekdays(first: date, count: int) -> list[date]:
    """`count` weekdays from `first` on."""
    days: list[date] = []
    day = first
    while len(days) < count:
        if day.weekday() < 5:
            days.append(day)
        day += timedelta(days=1)
    return days
