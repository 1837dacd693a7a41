"""How much a table holds, whatever places its rows in time."""

from datetime import UTC, date, datetime

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.history import Extent, extent
from financehub_dagster_tests.fixtures.database import Database

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def quote(symbol: str, at: datetime, source: str) -> dict[str, object]:
    return {"symbol": symbol, "quoted_at": at, "price": 1.0, "currency": "USD", "source": source, "fetched_at": NOW}


def test_an_empty_table_has_no_days(database: Database) -> None:
    with transaction() as connection:
        assert extent(connection, "quotes") == Extent(0, 0, None, None, {})


def test_rows_symbols_days_and_sources_are_counted(database: Database) -> None:
    rows = [
        quote("AAPL", datetime(2026, 11, 20, 23, 59, tzinfo=UTC), "yahoo"),
        quote("AAPL", datetime(2026, 11, 22, 0, 1, tzinfo=UTC), "yahoo"),
        quote("BTC", datetime(2026, 11, 21, 12, tzinfo=UTC), "binance"),
    ]
    with transaction() as connection:
        connection.execute(sa.insert(schema.table("quotes")), rows)
        found = extent(connection, "quotes")
    assert found == Extent(3, 2, date(2026, 11, 20), date(2026, 11, 22), {"yahoo": 2, "binance": 1})


def test_a_table_without_time_or_instruments_is_only_counted(database: Database) -> None:
    with transaction() as connection:
        assert extent(connection, "instruments") == Extent(0, 0, None, None, {})
        assert extent(connection, "news_articles") == Extent(0, None, None, None, {})
