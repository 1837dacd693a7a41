"""However a batch stands to what is stored, symbol by symbol, the counts and the rows come out the same."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import numpy as np
import pytest
import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.upsert.batch import make_batch
from financehub_dagster.storage.upsert.unchanged_rows import split
from financehub_dagster.storage.upsert.upsert import WriteResult
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.unit.storage.storage_writes import NOON, Columns, bars, rows, store

PRICES = schema.table("stock_prices_daily")


def told_apart(columns: Columns, table: sa.Table = PRICES) -> tuple[list[str], int]:
    """Symbols of which nothing is stored, and how many rows need a closer look."""
    with transaction() as connection:
        found = split(connection, table, make_batch(table, columns))
    return [each.symbol for each in found.absent], sum(rows.stop - rows.start for rows in found.unclear)


def test_new_stored_and_changed_symbols_are_told_apart_and_written_in_one_go(database: Database) -> None:
    store(bars({"CHANGED": 4, "SAME": 4}))
    batch = bars({"CHANGED": 4, "NEW": 2, "SAME": 4})
    batch["close"][2] = 11.0
    assert told_apart(batch) == (["NEW"], 4)
    assert store(batch) == WriteResult(2, 1, 7, {"CHANGED": date(2024, 1, 3), "NEW": date(2024, 1, 1)})
    assert told_apart(batch) == ([], 0)
    assert rows("select symbol, count(*), max(close) from stock_prices_daily group by 1 order by 1") == [
        ("CHANGED", 4, 11.0),
        ("NEW", 2, 10.0),
        ("SAME", 4, 10.0),
    ]


def test_stored_rows_between_those_of_a_batch_are_neither_new_nor_touched(database: Database) -> None:
    store(bars({"AAPL": 10}))
    every_third = {name: array[::3] for name, array in bars({"AAPL": 10}).items()}
    assert told_apart(every_third) == ([], 4)
    assert store(every_third) == WriteResult(0, 0, 4, {})
    longer = bars({"AAPL": 12})
    assert told_apart(longer) == ([], 12)
    assert store(longer) == WriteResult(2, 0, 10, {"AAPL": date(2024, 1, 11)})


def test_rows_before_and_after_the_stored_ones_are_new(database: Database) -> None:
    store(bars({"AAPL": 2}, first="2024-01-03"))
    around = {name: np.delete(array, [2, 3]) for name, array in bars({"AAPL": 6}).items()}
    assert told_apart(around) == ([], 4)
    assert store(around) == WriteResult(4, 0, 0, {"AAPL": date(2024, 1, 1)})
    assert rows("select count(*), count(distinct date) from stock_prices_daily") == [(6, 6)]


def test_values_that_are_equal_in_other_bytes_are_unchanged(database: Database) -> None:
    columns = bars({"AAPL": 3}, close=0.0)
    store(columns)
    negative = {**columns, "close": -columns["close"]}
    assert told_apart(negative) == ([], 3)
    assert store(negative).unchanged == 3


def test_a_missing_value_and_its_neighbour_are_not_mistaken_for_each_other(database: Database) -> None:
    columns: Columns = {
        column.name: np.array([np.nan]) for column in schema.table("indicators_daily").columns if not column.primary_key
    }
    columns |= {"symbol": np.array(["AAPL"], object), "date": np.array(["2024-01-01"], "datetime64[D]")}
    columns |= {"computed_at": np.array([NOON]), "sma_20": np.array([5.0])}
    store(columns, schema.table("indicators_daily"))
    assert told_apart(columns, schema.table("indicators_daily")) == ([], 0)
    moved = {**columns, "sma_20": columns["sma_50"], "sma_50": columns["sma_20"]}
    assert store(moved, schema.table("indicators_daily")).updated == 1
    assert rows("select sma_20, sma_50 from indicators_daily") == [(None, 5.0)]


def test_rows_keyed_by_an_instant_are_compared_to_the_microsecond(database: Database) -> None:
    table = sa.Table(
        "ticks",
        sa.MetaData(),
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("ts", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("words", sa.Text),
        sa.Column("number", sa.Integer, nullable=False),
    )
    table.create(database.engine)
    times = np.array(["2024-01-01T23:59:59.999999", "2024-01-02T00:00:00"], "datetime64[us]")
    columns: Columns = {
        "symbol": np.full(2, "ÄÖ", object),
        "ts": times,
        "words": np.array([None, "日本"], object),
        "number": np.array([1, 2]),
    }
    assert store(columns, table, keep_revisions=False) == WriteResult(2, 0, 0, {"ÄÖ": date(2024, 1, 1)})
    assert told_apart(columns, table) == ([], 0)
    later = {**columns, "ts": times + np.timedelta64(1, "s")}
    assert told_apart(later, table) == (["ÄÖ"], 0)
    assert store(later, table, keep_revisions=False) == WriteResult(2, 0, 0, {"ÄÖ": date(2024, 1, 2)})


def test_a_row_that_another_program_stores_in_between_breaks_the_write_off(database: Database) -> None:
    waiting = sa.text("select count(*) from pg_locks where not granted and locktype = 'transactionid'")
    with ThreadPoolExecutor(1) as pool, database.engine.connect() as stranger:
        stranger.execute(schema.table("stock_prices_daily").insert(), _one_row())
        written = pool.submit(store, bars({"AAPL": 3}))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher:
            while not watcher.scalar(waiting):
                assert not written.done()
        stranger.commit()
        with pytest.raises(DatabaseError, match="nothing was written: another program has stored the same rows"):
            written.result(30)
    assert rows("select symbol, date, close from stock_prices_daily") == [("AAPL", date(2024, 1, 2), 99.0)]


def _one_row() -> dict[str, object]:
    row = {name: array[1] for name, array in bars({"AAPL": 2}, close=99.0).items()}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
