"""Rows to write and the writes themselves, for the tests of the writer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.upsert.upsert import WriteResult, write

type Columns = dict[str, np.ndarray[Any, Any]]

NOON = np.datetime64("2024-03-01T12:00:00")

PRICES = schema.table("stock_prices_daily")


def bars(symbols: Mapping[str, int], close: float = 10.0, first: str = "2024-01-01") -> Columns:
    """So many daily bars for each symbol, from `first` on."""
    names = np.array([symbol for symbol, count in symbols.items() for _ in range(count)], object)
    days = [np.datetime64(first) + np.arange(count) for count in symbols.values()]
    prices = {name: np.full(len(names), close) for name in ("open", "high", "low", "close", "adj_close", "volume")}
    stamps = {"source": np.full(len(names), "yahoo", object), "fetched_at": np.full(len(names), NOON)}
    return {"symbol": names, "date": np.concatenate(days), **prices, **stamps}


def store(columns: Columns, table: sa.Table = PRICES, **options: Any) -> WriteResult:
    with transaction() as connection:
        return write(connection, table, columns, **{"run_id": "run-1", "keep_revisions": True, **options})


def rows(query: str) -> list[Any]:
    with transaction() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]
