"""The one writer: exact counts, old values kept, nothing written that was there already."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.errors import BadRows
from financehub_dagster.storage.lineage import stale_inputs
from financehub_dagster.storage.upsert.upsert import WriteResult, write
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.unit.storage.storage_writes import Columns, bars, rows, store


def test_new_rows_are_inserted_and_counted(database: Database) -> None:
    result = store(bars({"AAPL": 3, "MSFT": 2}))
    assert (result.inserted, result.updated, result.unchanged) == (5, 0, 0)
    assert result.changed_from == {"AAPL": date(2024, 1, 1), "MSFT": date(2024, 1, 1)}
    assert rows("select symbol, count(*), max(date) from stock_prices_daily group by 1 order by 1") == [
        ("AAPL", 3, date(2024, 1, 3)),
        ("MSFT", 2, date(2024, 1, 2)),
    ]


def test_writing_the_same_again_writes_nothing_and_grows_nothing(database: Database) -> None:
    columns = bars({"AAPL": 2000, "MSFT": 2000})
    store(columns)
    size = "select pg_relation_size('stock_prices_daily'), pg_relation_size('stock_prices_daily_pkey')"
    versions = "select xmin::text, count(*) from stock_prices_daily group by 1"
    before = rows(size), rows(versions)
    for day in range(5):
        later = {**columns, "fetched_at": columns["fetched_at"] + np.timedelta64(day, "D")}
        assert store(later) == WriteResult(0, 0, 4000, {})
    assert (rows(size), rows(versions)) == before
    assert rows("select count(*) from price_revisions") == [(0,)]


def test_a_changed_value_is_updated_and_the_old_row_is_kept(database: Database) -> None:
    columns = bars({"AAPL": 5, "MSFT": 5})
    store(columns)
    changed = {
        **columns,
        "close": columns["close"].copy(),
        "fetched_at": columns["fetched_at"] + np.timedelta64(1, "D"),
    }
    changed["close"][[2, 4]] = 10.5
    result = store(changed, run_id="run-2")
    assert result == WriteResult(0, 2, 8, {"AAPL": date(2024, 1, 3)})
    kept = rows("select table_name, symbol, date, old, run_id from price_revisions order by date")
    assert [row[:3] for row in kept] == [("stock_prices_daily", "AAPL", date(2024, 1, day)) for day in (3, 5)]
    assert kept[0][3]["close"] == 10.0
    assert kept[0][3]["fetched_at"] == "2024-03-01T12:00:00+00:00"
    assert {"symbol", "date"}.isdisjoint(kept[0][3])
    assert kept[0][4] == "run-2"
    updated = rows("select close, fetched_at from stock_prices_daily where symbol = 'AAPL' and date = '2024-01-03'")
    assert updated == [(10.5, datetime(2024, 3, 2, 12, tzinfo=UTC))]


def test_the_same_price_from_another_vendor_is_a_change(database: Database) -> None:
    columns = bars({"AAPL": 1})
    store(columns)
    assert store({**columns, "source": np.array(["stooq"], object)}).updated == 1


def test_revisions_are_kept_only_where_asked(database: Database) -> None:
    store(bars({"AAPL": 1}))
    assert store(bars({"AAPL": 1}, close=11.0), keep_revisions=False).updated == 1
    assert rows("select count(*) from price_revisions") == [(0,)]


def test_old_and_new_rows_mix_in_one_write(database: Database) -> None:
    store(bars({"AAPL": 3}))
    longer = bars({"AAPL": 5, "NEW": 1})
    longer["close"][1] = 9.0
    result = store(longer)
    assert result == WriteResult(3, 1, 2, {"AAPL": date(2024, 1, 2), "NEW": date(2024, 1, 1)})


def test_of_rows_with_the_same_key_the_last_one_counts(database: Database) -> None:
    columns = bars({"AAPL": 3, "MSFT": 1})
    columns["date"] = np.array(["2024-01-02", "2024-01-01", "2024-01-02", "2024-01-02"], "datetime64[D]")
    columns["close"] = np.array([1.0, 2.0, 3.0, 4.0])
    assert store(columns).inserted == 3
    assert rows("select symbol, date, close from stock_prices_daily order by 1, 2") == [
        ("AAPL", date(2024, 1, 1), 2.0),
        ("AAPL", date(2024, 1, 2), 3.0),
        ("MSFT", date(2024, 1, 2), 4.0),
    ]


def test_missing_values_become_null_where_the_table_allows_it(database: Database) -> None:
    columns = bars({"AAPL": 3})
    columns["adj_close"] = np.array([1.5, np.nan, 2.5])
    store(columns)
    assert rows("select adj_close from stock_prices_daily order by date") == [(1.5,), (None,), (2.5,)]
    assert store(columns).unchanged == 3


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("close", np.nan, "close is missing for MSFT 2024-01-02"),
        ("close", np.inf, "close is infinite for MSFT 2024-01-02"),
        ("adj_close", -np.inf, "adj_close is infinite for MSFT 2024-01-02"),
        ("source", None, "source is missing for MSFT 2024-01-02"),
        ("source", "ya\0hoo", "source is not text for MSFT 2024-01-02"),
        ("date", np.datetime64("NaT"), "date is missing for MSFT"),
        ("fetched_at", np.datetime64("NaT"), "fetched_at is missing for MSFT 2024-01-02"),
    ],
)
def test_a_value_that_the_table_cannot_hold_is_named_and_nothing_is_written(
    database: Database, name: str, value: object, reason: str
) -> None:
    columns = bars({"AAPL": 2, "MSFT": 2})
    columns[name] = columns[name].copy()
    columns[name][3] = value
    with pytest.raises(BadRows, match=f"stock_prices_daily: {reason}.*nothing was written") as caught:
        store(columns)
    assert "\n" not in str(caught.value)
    assert rows("select count(*) from stock_prices_daily") == [(0,)]


def test_a_time_of_day_in_a_date_column_is_refused(database: Database) -> None:
    columns = bars({"AAPL": 1})
    columns["date"] = np.array(["2024-01-01T14:30"], "datetime64[s]")
    with pytest.raises(BadRows, match="date is a time, not a date"):
        store(columns)


def test_arrays_that_are_not_the_tables_columns_are_refused(database: Database) -> None:
    columns = bars({"AAPL": 1})
    with pytest.raises(ValueError, match=r"missing: \['close'\], unknown: \['klose'\]"):
        store({"klose" if name == "close" else name: array for name, array in columns.items()})
    with pytest.raises(ValueError, match="differ in length"):
        store({**columns, "close": np.array([1.0, 2.0])})


def test_nothing_to_write_is_no_change(database: Database) -> None:
    empty = {name: array[:0] for name, array in bars({"AAPL": 1}).items()}
    assert store(empty) == WriteResult(0, 0, 0, {})
    assert store({name: array.astype(object) for name, array in empty.items()}) == WriteResult(0, 0, 0, {})


def test_columns_of_a_pandas_frame_are_taken_as_they_are(database: Database) -> None:
    frame = pd.DataFrame(bars({"AAPL": 2}))
    frame["symbol"] = frame["symbol"].astype("str")
    frame["date"] = pd.to_datetime(frame["date"]).astype("datetime64[ns]")
    frame["fetched_at"] = pd.Timestamp("2024-03-01T13:00:00+01:00")
    assert store({str(name): frame[name].to_numpy() for name in frame}).inserted == 2
    assert rows("select distinct fetched_at from stock_prices_daily") == [(datetime(2024, 3, 1, 12, tzinfo=UTC),)]
    assert store(bars({"AAPL": 2})).unchanged == 2


def test_changed_instruments_are_marked_dirty_from_their_earliest_change(database: Database) -> None:
    store(bars({"AAPL": 5, "MSFT": 5}), derived=["indicators_daily"])
    with transaction() as connection:
        first = stale_inputs.read_marks(connection, "indicators_daily", ["AAPL", "MSFT"])
        assert first == {symbol: stale_inputs.Mark(date(2024, 1, 1), 1) for symbol in ("AAPL", "MSFT")}
        assert stale_inputs.clear_marks(connection, "indicators_daily", {"AAPL": first["AAPL"]}) == 1
    columns = bars({"AAPL": 5, "MSFT": 6})
    columns["close"][3] = 12.0
    store(columns, derived=["indicators_daily"])
    with transaction() as connection:
        assert stale_inputs.read_marks(connection, "indicators_daily", ["AAPL", "MSFT"]) == {
            "AAPL": stale_inputs.Mark(date(2024, 1, 4), 2),
            "MSFT": stale_inputs.Mark(date(2024, 1, 1), 2),
        }
        assert stale_inputs.clear_marks(connection, "indicators_daily", first) == 0
        assert stale_inputs.marked_since(connection, "indicators_daily", ["AAPL", "MSFT"], first) == ["AAPL", "MSFT"]
        assert set(stale_inputs.read_marks(connection, "indicators_daily", ["MSFT"])) == {"MSFT"}


def test_an_identical_write_marks_nothing(database: Database) -> None:
    store(bars({"AAPL": 5}))
    store(bars({"AAPL": 5}), derived=["indicators_daily"])
    assert rows("select count(*) from dirty_marks") == [(0,)]


def test_several_writes_in_one_transaction_stand_or_fall_together(database: Database) -> None:
    def fail_after_two_writes() -> None:
        with transaction() as connection:
            assert write_into(connection, bars({"AAPL": 2})).inserted == 2
            assert write_into(connection, bars({"AAPL": 3})).inserted == 1
            write_into(connection, {**bars({"AAPL": 1}), "close": np.array([np.nan])})

    with pytest.raises(BadRows):
        fail_after_two_writes()
    assert rows("select count(*) from stock_prices_daily") == [(0,)]


def write_into(connection: Connection, columns: Columns) -> WriteResult:
    return write(connection, schema.table("stock_prices_daily"), columns, run_id=None, keep_revisions=True)
