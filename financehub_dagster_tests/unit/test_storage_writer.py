"""The one writer: exact values, exact counts, nothing written that was there already."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import JSONB

from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS
from financehub_dagster.storage import marks, tables
from financehub_dagster.storage.engine import Connection, transaction
from financehub_dagster.storage.errors import BadRows
from financehub_dagster.storage.writer import WriteResult, write
from financehub_dagster_tests.fixtures.database import Database

type Columns = dict[str, np.ndarray[Any, Any]]

NOON = np.datetime64("2024-03-01T12:00:00")


def bars(symbols: Mapping[str, int], close: float = 10.0, first: str = "2024-01-01") -> Columns:
    """So many daily bars for each symbol, from `first` on."""
    names = np.array([symbol for symbol, count in symbols.items() for _ in range(count)], object)
    days = [np.datetime64(first) + np.arange(count) for count in symbols.values()]
    prices = {name: np.full(len(names), close) for name in ("open", "high", "low", "close", "adj_close", "volume")}
    stamps = {"source": np.full(len(names), "yahoo", object), "fetched_at": np.full(len(names), NOON)}
    return {"symbol": names, "date": np.concatenate(days), **prices, **stamps}


def store(columns: Columns, table: sa.Table = tables.stock_prices_daily, **options: Any) -> WriteResult:
    with transaction() as connection:
        return write(connection, table, columns, **{"run_id": "run-1", "keep_revisions": True, **options})


def rows(query: str) -> list[Any]:
    with transaction() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


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
    assert store({name: frame[name].to_numpy() for name in frame}).inserted == 2
    assert rows("select distinct fetched_at from stock_prices_daily") == [(datetime(2024, 3, 1, 12, tzinfo=UTC),)]
    assert store(bars({"AAPL": 2})).unchanged == 2


def test_changed_instruments_are_marked_dirty_from_their_earliest_change(database: Database) -> None:
    store(bars({"AAPL": 5, "MSFT": 5}), derived=["indicators_daily"])
    with transaction() as connection:
        first = marks.read_marks(connection, "indicators_daily")
        assert first == {symbol: marks.Mark(date(2024, 1, 1), 1) for symbol in ("AAPL", "MSFT")}
        assert marks.clear_marks(connection, "indicators_daily", {"AAPL": first["AAPL"]}) == 1
    columns = bars({"AAPL": 5, "MSFT": 6})
    columns["close"][3] = 12.0
    store(columns, derived=["indicators_daily"])
    with transaction() as connection:
        assert marks.read_marks(connection, "indicators_daily") == {
            "AAPL": marks.Mark(date(2024, 1, 4), 1),
            "MSFT": marks.Mark(date(2024, 1, 1), 2),
        }
        assert marks.clear_marks(connection, "indicators_daily", first) == 1
        assert set(marks.read_marks(connection, "indicators_daily", ["MSFT"])) == {"MSFT"}


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
    return write(connection, tables.stock_prices_daily, columns, run_id=None, keep_revisions=True)


def test_indicators_with_their_warm_up_gaps_come_back_as_written(database: Database) -> None:
    count, rng = 500, np.random.default_rng(7)
    columns: Columns = {
        "symbol": np.full(count, "AAPL", object),
        "date": np.datetime64("2020-01-01") + np.arange(count),
        "computed_at": np.full(count, NOON),
    }
    for warm_up, name in enumerate(INDICATOR_COLUMNS):
        columns[name] = np.where(np.arange(count) < warm_up * 7, np.nan, rng.normal(size=count))
    assert store(columns, tables.indicators_daily, keep_revisions=False).inserted == count
    stored = rows(f"select {', '.join(INDICATOR_COLUMNS)} from indicators_daily order by date")
    expected = np.column_stack([columns[name] for name in INDICATOR_COLUMNS])
    assert np.array_equal(np.array(stored, float), expected, equal_nan=True)
    assert store(columns, tables.indicators_daily, keep_revisions=False).unchanged == count


def test_a_key_of_three_columns_works_like_one_of_two(database: Database) -> None:
    actions: Columns = {
        "symbol": np.array(["AAPL", "AAPL", "AAPL"], object),
        "date": np.full(3, np.datetime64("2020-08-31")),
        "kind": np.array(["split", "dividend", "split"], object),
        "value": np.array([4.0, 0.2, 7.0]),
        "source": np.full(3, "yahoo", object),
        "fetched_at": np.full(3, NOON),
    }
    assert store(actions, tables.corporate_actions).inserted == 2
    assert rows("select kind, value from corporate_actions order by 1") == [("dividend", 0.2), ("split", 7.0)]


def test_every_type_of_column_comes_back_as_written(database: Database) -> None:
    table = sa.Table(
        "all_types",
        sa.MetaData(),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ts", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("small", sa.SmallInteger),
        sa.Column("number", sa.Integer),
        sa.Column("flag", sa.Boolean),
        sa.Column("words", sa.Text),
        sa.Column("document", JSONB),
    )
    table.create(database.engine)
    columns: Columns = {
        "id": np.array([2**62, -5]),
        "ts": np.array(["2024-01-01T00:00:00.123456", "1969-12-31T23:59:59.999999"], "datetime64[us]"),
        "small": np.array([7.0, np.nan]),
        "number": np.array([-(2**31), 2**31 - 1]),
        "flag": np.array([True, None], object),
        "words": np.array(["žluťoučký\tkůň\n\\N 日本", None], object),
        "document": np.array([{"a": [1, None, "ü"]}, None], object),
    }
    assert store(columns, table, keep_revisions=False).inserted == 2
    assert rows("select * from all_types order by id desc") == [
        (
            2**62,
            datetime(2024, 1, 1, 0, 0, 0, 123456, UTC),
            7,
            -(2**31),
            True,
            "žluťoučký\tkůň\n\\N 日本",
            {"a": [1, None, "ü"]},
        ),
        (-5, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), None, 2**31 - 1, None, None, None),
    ]
    assert store(columns, table, keep_revisions=False).unchanged == 2
    with pytest.raises(BadRows, match="number does not fit the column for"):
        store({**columns, "number": np.array([0, 2**31])}, table, keep_revisions=False)
    with pytest.raises(BadRows, match="small is not a whole number"):
        store({**columns, "small": np.array([0, 0.5])}, table, keep_revisions=False)


@st.composite
def decimals_of_15_digits(draw: st.DrawFn) -> str:
    digits = draw(st.integers(1, 10**15 - 1))
    return f"{digits}e{draw(st.integers(-20, 6))}"


@given(st.lists(decimals_of_15_digits(), min_size=1, max_size=200))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_decimal_of_up_to_15_digits_comes_back_as_the_same_digits(database: Database, written: list[str]) -> None:
    columns = bars({"AAPL": len(written)})
    columns["close"] = np.array(written, float)
    store(columns, keep_revisions=False)
    stored = rows("select close::text from stock_prices_daily order by date")[: len(written)]
    assert [f"{float(text):.14e}" for (text,) in stored] == [f"{float(text):.14e}" for text in written]
    assert [float(text) for (text,) in stored] == [float(text) for text in written]


KEYS = st.tuples(st.sampled_from(["A", "BB", "C.C", "ÄÖ"]), st.integers(0, 5))


@given(
    st.lists(
        st.lists(st.tuples(KEYS, st.sampled_from([None, 1.0, 2.0]), st.sampled_from(["yahoo", "stooq"])), max_size=12),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_writes_ends_as_a_dictionary_would(
    database: Database, batches: list[list[tuple[tuple[str, int], float | None, str]]]
) -> None:
    with transaction() as connection:
        connection.execute(sa.text("truncate stock_prices_daily, price_revisions"))
    expected: dict[tuple[str, int], tuple[float | None, str]] = {}
    replaced = 0
    for batch in batches:
        columns = bars({"": len(batch)})
        columns["symbol"] = np.array([key[0] for key, _, _ in batch], object)
        columns["date"] = np.datetime64("2024-01-01") + np.array([key[1] for key, _, _ in batch], int)
        columns["adj_close"] = np.array([value for _, value, _ in batch], float)
        columns["source"] = np.array([source for _, _, source in batch], object)
        new = {key: (value, source) for key, value, source in batch}
        result = store(columns)
        assert result.inserted == len(new.keys() - expected.keys())
        assert result.updated == sum(key in expected and expected[key] != row for key, row in new.items())
        assert result.inserted + result.updated + result.unchanged == len(new)
        replaced += result.updated
        expected |= new
    found = rows("select symbol, date - date '2024-01-01', adj_close, source from stock_prices_daily")
    assert {(symbol, day): (value, source) for symbol, day, value, source in found} == expected
    assert rows("select count(*) from price_revisions") == [(replaced,)]
