"""Whatever is written comes back as it was written, and any sequence of writes ends as it should."""

from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import JSONB

from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import BadRows
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.unit.storage.storage_writes import NOON, Columns, bars, rows, store


def test_indicators_with_their_warm_up_gaps_come_back_as_written(database: Database) -> None:
    count, rng = 500, np.random.default_rng(7)
    columns: Columns = {
        "symbol": np.full(count, "AAPL", object),
        "date": np.datetime64("2020-01-01") + np.arange(count),
        "computed_at": np.full(count, NOON),
    }
    for warm_up, name in enumerate(INDICATOR_COLUMNS):
        columns[name] = np.where(np.arange(count) < warm_up * 7, np.nan, rng.normal(size=count))
    assert store(columns, schema.table("indicators_daily"), keep_revisions=False).inserted == count
    stored = rows(f"select {', '.join(INDICATOR_COLUMNS)} from indicators_daily order by date")
    expected = np.column_stack([columns[name] for name in INDICATOR_COLUMNS])
    assert np.array_equal(np.array(stored, float), expected, equal_nan=True)
    assert store(columns, schema.table("indicators_daily"), keep_revisions=False).unchanged == count


def test_a_key_of_three_columns_works_like_one_of_two(database: Database) -> None:
    actions: Columns = {
        "symbol": np.array(["AAPL", "AAPL", "AAPL"], object),
        "date": np.full(3, np.datetime64("2020-08-31")),
        "kind": np.array(["split", "dividend", "split"], object),
        "value": np.array([4.0, 0.2, 7.0]),
        "source": np.full(3, "yahoo", object),
        "fetched_at": np.full(3, NOON),
    }
    assert store(actions, schema.actions).inserted == 2
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
@settings(max_examples=40)
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
@settings(max_examples=40)
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
