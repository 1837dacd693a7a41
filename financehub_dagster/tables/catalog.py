"""The tables that are assets, declared in plain words: names, types, comments and keys of their columns.

Belongs here: what `storage.database.schema` builds SQL tables from and the assets build their column schemas from. Does
not belong here: SQL, and tables that are no assets. Every process that loads the assets reads this, so nothing heavy is
imported.
"""

from dataclasses import dataclass
from typing import Literal

from financehub_dagster.market.indicators import columns
from financehub_dagster.market.instruments import AssetType

type ColumnType = Literal[
    "text",
    "date",
    "datemultirange",
    "double precision",
    "integer",
    "bigint",
    "timestamp with time zone",
    "boolean",
    "jsonb",
]


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


BARS_OF = {
    "stock_prices_daily": (AssetType.STOCK, AssetType.ETF, AssetType.INDEX),
    "crypto_prices_daily": (AssetType.CRYPTO,),
}
"""Which kinds of instruments each table of daily bars takes."""
INDICATORS = "indicators_daily"
LEDGER_TABLES = (*BARS_OF, INDICATORS)
"""The tables the ledger is about: those of bars, by calendar, and the indicators, one for each stored bar."""
SINCE_FIRST_DAY = ("quotes", "crypto_markets", "fundamentals", "news_articles")
"""The tables whose partitions begin with the platform's first day: what vendors said before it is not to be had."""


def _price(name: str, comment: str, *, nullable: bool = False) -> Column:
    return Column(name, "double precision", comment, nullable=nullable)


def _sessions(name: str, comment: str) -> Column:
    return Column(name, "datemultirange", comment, default="'{}'::datemultirange")


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

_QUOTED_AT = Column("quoted_at", "timestamp with time zone", "when the price was made, by the vendor", key=True)
_CURRENCY = Column("currency", "text", "ISO 4217, of all money in the row")
_FUNDAMENTALS = {
    "market_cap": "in units of currency",
    "shares_outstanding": "shares",
    "pe_ratio": "price to trailing earnings",
    "forward_pe": "price to expected earnings",
    "peg_ratio": "price to earnings to growth",
    "price_to_book": "ratio",
    "price_to_sales": "ratio, trailing twelve months",
    "eps": "earnings per share, trailing twelve months",
    "book_value": "per share",
    "dividend_per_share": "per year",
    "dividend_yield": "fraction of the price per year",
    "profit_margin": "fraction of revenue",
    "operating_margin": "fraction of revenue",
    "return_on_assets": "fraction",
    "return_on_equity": "fraction",
    "revenue": "trailing twelve months",
    "ebitda": "trailing twelve months",
    "beta": "against the market",
    "high_52w": "highest price of 52 weeks",
    "low_52w": "lowest price of 52 weeks",
}

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
                *(_price(column.name, column.description, nullable=True) for column in columns.INDICATORS),
                Column("computed_at", "timestamp with time zone", "when the row was computed", stamp=True),
            ),
        ),
        Table(
            "quotes",
            "Last prices, each under the time it was made.",
            (
                _SYMBOL,
                _QUOTED_AT,
                _price("price", "last price"),
                _price("open", "of the running session, cryptos: 24 hours ago", nullable=True),
                _price("high", "of the running session, cryptos: of 24 hours", nullable=True),
                _price("low", "of the running session, cryptos: of 24 hours", nullable=True),
                _price("previous_close", "of the session before", nullable=True),
                _price("volume", "units traded in the session, cryptos: in 24 hours", nullable=True),
                _CURRENCY,
                *_ORIGIN,
            ),
        ),
        Table(
            "crypto_markets",
            "Price, market capitalisation, volume and supply of cryptos, each under the time it was made.",
            (
                _SYMBOL,
                _QUOTED_AT,
                _price("price", "last price"),
                _price("market_cap", "price times circulating supply", nullable=True),
                _price("volume_24h", "money traded in 24 hours", nullable=True),
                _price("change_24h", "percent", nullable=True),
                _price("circulating_supply", "units of the crypto", nullable=True),
                _price("total_supply", "units of the crypto", nullable=True),
                _price("max_supply", "units of the crypto", nullable=True),
                _price("rank", "by market capitalisation, at the vendor", nullable=True),
                _CURRENCY,
                *_ORIGIN,
            ),
        ),
        Table(
            "fundamentals",
            "What a company is worth and earns, as it was known on each day.",
            (
                _SYMBOL,
                Column("date", "date", "UTC day on which this was known", key=True),
                _CURRENCY,
                Column("sector", "text", "in the vendor's words", nullable=True),
                Column("industry", "text", "in the vendor's words", nullable=True),
                *(_price(name, comment, nullable=True) for name, comment in _FUNDAMENTALS.items()),
                *_ORIGIN,
            ),
        ),
        Table(
            "news_articles",
            "Articles about instruments, each address once.",
            (
                Column("url", "text", "address of the article", key=True),
                Column("title", "text", "headline"),
                Column("summary", "text", "first sentences or abstract", nullable=True),
                Column("publisher", "text", "who published it", nullable=True),
                Column("author", "text", "one or several", nullable=True),
                Column("published_at", "timestamp with time zone", "by the publisher"),
                *_ORIGIN,
            ),
        ),
        Table(
            "api_usage",
            "Vendor calls by day and outcome.",
            (
                Column("provider", "text", "the vendor", key=True),
                Column("scope", "text", "ip, or a key's fingerprint", key=True),
                Column("day", "date", "UTC", key=True),
                Column("outcome", "text", "ok, or the name of the error", key=True),
                Column("calls", "bigint", "requests that left, whatever came back"),
                Column("weight", "bigint", "what they cost in the vendor's units"),
                Column("last_at", "timestamp with time zone", "when the last of these calls ended", nullable=True),
                Column(
                    "clock_offset",
                    "double precision",
                    "seconds by which the vendor's clock was ahead of this machine's, by the last Date header",
                    nullable=True,
                ),
            ),
        ),
        Table(
            "coverage",
            "The ledger: of every instrument, which sessions were settled, and which of them are not stored.",
            (
                Column("table_name", "text", "the table it is about", key=True),
                _SYMBOL,
                Column("first", "date", "since when sessions are expected"),
                Column("through", "date", "the last session that was settled"),
                Column("calendar_digest", "bigint", "a checksum of the sessions from first to through"),
                _sessions("empty", "sessions the vendor confirms to have nothing for"),
                _sessions("gap", "sessions that are missing and will be asked for"),
                _sessions("dead_lettered", "sessions whose work failed and waits in task_failures"),
                _sessions("deferred", "sessions whose work waits in deferred_work"),
                Column("settled_at", "timestamp with time zone", "when it was computed", default="now()", stamp=True),
            ),
        ),
    )
}
