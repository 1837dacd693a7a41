"""Columns that several tables have: keys, origin, and what a bar is made of.

Belongs here: columns and what makes them. Does not belong here: a table.
"""

from typing import Any

from financehub_dagster.market.quality.limits import CURRENCY as CURRENCY_CODE
from financehub_dagster.tables.declaration import Column


def number(name: str, comment: str, **limits: Any) -> Column:
    """A finite number; NULL is allowed with `nullable`. Limits are those of `Column`."""
    return Column(name, "double precision", comment, **limits)


def positive(name: str, comment: str, *, nullable: bool = False) -> Column:
    """A number above zero."""
    return number(name, comment, nullable=nullable, above=0)


def not_negative(name: str, comment: str, *, nullable: bool = False) -> Column:
    """A number of at least zero."""
    return number(name, comment, nullable=nullable, least=0)


SYMBOL = Column("symbol", "text", "the instrument", key=True)
SESSION = Column("date", "date", "session date", key=True)
TRADE_DATE = Column("date", "date", "trade date: the session the row is for", key=True)
PREVIOUS_SESSION = Column("session", "date", "the session before it, whose bar the row is made of")
OPENS_AT = Column("ts", "timestamp with time zone", "when the bar opens", key=True)
QUOTED_AT = Column("quoted_at", "timestamp with time zone", "when the price was made, by the vendor", key=True)
CURRENCY = Column("currency", "text", "ISO 4217, of all money in the row", pattern=CURRENCY_CODE)
ORIGIN = (
    Column("source", "text", "the provider that answered"),
    Column("fetched_at", "timestamp with time zone", "when the provider answered", stamp=True),
)
COMPUTED_AT = Column("computed_at", "timestamp with time zone", "when the row was computed", stamp=True)


def _daily_bars(prices: str, close: str, adj_close: str, volume: str) -> tuple[Column, ...]:
    return (
        SYMBOL,
        SESSION,
        positive("open", prices),
        positive("high", prices),
        positive("low", prices),
        positive("close", close),
        positive("adj_close", adj_close, nullable=True),
        not_negative("volume", volume),
        *ORIGIN,
        Column("flags", "text[]", "the quality rules that make the bar doubtful; nearly always empty", default="'{}'"),
    )


DAILY_BARS = _daily_bars(
    "split-adjusted",
    "split-adjusted, not adjusted for dividends",
    "adjusted for splits and dividends",
    "units traded",
)
DAILY_RATES = _daily_bars(
    "units of the second currency for one of the first",
    "units of the second currency for one of the first, at the end of the session",
    "equal to close: a pair has no splits and no dividends",
    "units traded; 0 where the vendor has none",
)
INTRADAY_BARS = (
    SYMBOL,
    OPENS_AT,
    positive("open", "of the first trade"),
    positive("high", "of all trades"),
    positive("low", "of all trades"),
    positive("close", "of the last trade"),
    not_negative("volume", "units traded; 0 where the vendor has none"),
    *ORIGIN,
)
