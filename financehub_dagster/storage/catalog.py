"""The tables that are assets, declared in plain words: names, types, comments and keys of their columns.

Belongs here: what `tables` builds SQL tables from and the assets build their column schemas from. Does not belong here:
SQL, and tables that are no assets. Every process that loads the assets reads this, so nothing heavy is imported.
"""

from dataclasses import dataclass
from typing import Literal

from financehub_dagster.market.indicators.columns import INDICATORS

type ColumnType = Literal["text", "date", "double precision", "timestamp with time zone", "boolean", "jsonb"]


@dataclass(frozen=True)
class Column:
    """A column: its PostgreSQL type, what it means, whether it may be NULL and is part of the key, its default in SQL.

    A stamp says when a row was made; two rows that differ in nothing else are the same row.
    """

    name: str
    type: ColumnType
    comment: str
    nullable: bool = False
    key: bool = False
    default: str | None = None
    stamp: bool = False


@dataclass(frozen=True)
class Table:
    """A table: what it holds and its columns in order."""

    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key's columns."""
        return tuple(column.name for column in self.columns if column.key)


def _price(name: str, comment: str, *, nullable: bool = False) -> Column:
    return Column(name, "double precision", comment, nullable=nullable)


_SYMBOL = Column("symbol", "text", "the instrument", key=True)
_SESSION = Column("date", "date", "session date", key=True)
_ORIGIN = (
    Column("source", "text", "the provider that answered"),
    Column("fetched_at", "timestamp with time zone", "when the provider answered", stamp=True),
)
_DAILY_BARS = (
    _SYMBOL,
    _SESSION,
    _price("open", "split-adjusted"),
    _price("high", "split-adjusted"),
    _price("low", "split-adjusted"),
    _price("close", "split-adjusted, not adjusted for dividends"),
    _price("adj_close", "adjusted for splits and dividends", nullable=True),
    _price("volume", "units traded"),
    *_ORIGIN,
)

CATALOG = {
    table.name: table
    for table in (
        Table(
            "instruments",
            "The only universe: what is fetched, computed and reported.",
            (
                Column("symbol", "text", "unique, upper case", key=True),
                Column("name", "text", "in full"),
                Column("asset_type", "text", "stock, crypto, etf, index or fx"),
                Column("exchange", "text", "ISO 10383 MIC"),
                Column("currency", "text", "ISO 4217"),
                Column("timezone", "text", "IANA name"),
                Column("is_active", "boolean", "whether it is fetched and computed", default="true"),
                Column("market_cap", "double precision", "in units of currency", nullable=True),
                Column("aliases", "jsonb", "provider -> symbol", default="'{}'::jsonb"),
                Column("updated_at", "timestamp with time zone", "last edit", default="now()"),
            ),
        ),
        Table("stock_prices_daily", "Daily OHLCV bars of stocks, ETFs and indices.", _DAILY_BARS),
        Table("crypto_prices_daily", "Daily OHLCV bars of cryptos in USD, sessions from 00:00 UTC.", _DAILY_BARS),
        Table(
            "corporate_actions",
            "Dividends, splits and capital gains.",
            (
                _SYMBOL,
                Column("date", "date", "ex-date", key=True),
                Column("kind", "text", "dividend, split or capital_gain", key=True),
                _price("value", "cash per share (split-adjusted), or new shares per old share"),
                *_ORIGIN,
            ),
        ),
        Table(
            "indicators_daily",
            "Technical indicators over the full stored history; warm-up rows are NULL.",
            (
                _SYMBOL,
                _SESSION,
                *(_price(column.name, column.description, nullable=True) for column in INDICATORS),
                Column("computed_at", "timestamp with time zone", "when the row was computed", stamp=True),
            ),
        ),
    )
}
