"""Minutes as runs leave them, months ago: by the real writer, in partitions of their own."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster.storage.upsert.upsert import write

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
JULY, AUGUST, NOVEMBER = date(2026, 7, 1), date(2026, 8, 1), date(2026, 11, 1)
SYMBOLS = ("BTC", "ETH", "B-TC")
"""A database's order of texts may differ from that of code points."""
MINUTES = 50
TABLE = "ohlc_1m"


def fill(table: str = TABLE, months: tuple[date, ...] = (JULY, AUGUST, NOVEMBER)) -> None:
    """Three instruments with the same minutes at the end of each month's first day."""
    known = [Instrument(symbol, symbol, AssetType.CRYPTO, "XXXX", "USD") for symbol in SYMBOLS]
    with transaction() as connection:
        upsert_instruments(connection, known)
        for month in months:
            store(connection, table, np.datetime64(month, "s") + np.timedelta64(23, "h"))


def store(
    connection: sa.Connection,
    table: str,
    first: np.datetime64,
    *,
    symbols: tuple[str, ...] = SYMBOLS,
    minutes: int = MINUTES,
    price: float = 100.07,
) -> None:
    """Bars of each symbol, minute by minute from `first`."""
    rows = len(symbols) * minutes
    numbers = np.tile(np.arange(minutes), len(symbols))
    close = price + numbers / 100
    columns: dict[str, Any] = {
        "symbol": np.repeat(np.array(symbols, object), minutes),
        "ts": (first + numbers * np.timedelta64(60, "s")).astype("datetime64[us]"),
        "open": close - 0.05,
        "high": close + 0.1,
        "low": close - 0.1,
        "close": close,
        "volume": numbers * 1.5,
        "source": np.array(["binance"] * rows, object),
        "fetched_at": np.full(rows, np.datetime64("2026-11-01T00:00:00.123456", "us")),
    }
    write(connection, schema.table(table), columns, run_id="test", keep_revisions=True)


def all_rows(table: str = TABLE) -> list[tuple[Any, ...]]:
    """Every row of the table as text, so that no digit is lost, in the order of the key."""
    with transaction() as connection:
        found = connection.exec_driver_sql(f'select t::text from {table} t order by symbol collate "C", ts')
        return [tuple(row) for row in found]


def partitions(table: str = TABLE) -> list[str]:
    """The names of the partitions."""
    with transaction() as connection:
        query = sa.text("select inhrelid::regclass::text from pg_inherits where inhparent = to_regclass(:t) order by 1")
        return list(connection.execute(query, {"t": table}).scalars())


def execute(statement: str) -> None:
    """Run one statement."""
    with transaction() as connection:
        connection.exec_driver_sql(statement)
