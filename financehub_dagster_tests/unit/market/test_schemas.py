"""The pandera schemas accept what the tables hold and name what they must not."""

from datetime import date

import numpy as np
import pandas as pd
import pandera.errors
import pandera.pandas as pa
import pytest

from financehub_dagster.market import schemas
from financehub_dagster.market.former_aliases import to_json
from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS
from financehub_dagster.market.indicators.engine import compute
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.storage.database import schema
from financehub_dagster.tables import DATA
from financehub_dagster_tests.properties.markets import random_bars

NOW = pd.Timestamp("2024-06-01T12:00", tz="UTC")


def schema_of(table: str) -> pa.DataFrameSchema:
    return schemas.schema_of(table, DATA[table].limits)


def bars(count: int = 3) -> pd.DataFrame:
    invented = random_bars(count)
    return pd.DataFrame(
        {
            "symbol": "AAPL",
            "date": [date(2024, 1, 1 + day) for day in range(count)],
            **{name: getattr(invented, name) for name in ("open", "high", "low", "close")},
            "adj_close": None,
            "volume": invented.volume,
            "source": "yahoo",
            "fetched_at": NOW,
            "flags": [[] for _ in range(count)],
        }
    )


def indicators() -> pd.DataFrame:
    count = 300
    days = pd.date_range("2024-01-01", periods=count).date
    values = compute(*random_bars(count).columns)
    return pd.DataFrame({"symbol": "AAPL", "date": days, **values, "computed_at": NOW})


def instruments() -> pd.DataFrame:
    computed = ("updated_at", "importance", "former_aliases")
    columns = [column.name for column in schema.instruments.c if column.name not in computed]
    rows = [{name: getattr(instrument, name) for name in columns} for instrument in default_universe()]
    former = pd.Series([to_json(instrument.former_aliases) for instrument in default_universe()], dtype=object)
    return pd.DataFrame(rows).assign(updated_at=NOW, importance=5.0, former_aliases=former, permanent_id="an id")


def actions() -> pd.DataFrame:
    row = {
        "symbol": "AAPL",
        "date": date(2024, 1, 2),
        "kind": "split",
        "value": 4.0,
        "source": "yahoo",
        "fetched_at": NOW,
    }
    return pd.DataFrame([row])


def complaints(table: str, frame: pd.DataFrame) -> list[tuple[str, str]]:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        schema_of(table).validate(frame, lazy=True)
    cases = caught.value.failure_cases
    return list(zip(cases["column"], cases["check"], strict=True))


@pytest.mark.parametrize("table", list(DATA))
def test_a_schema_has_the_columns_of_its_table_and_knows_which_may_be_null(table: str) -> None:
    declared = {column.name: bool(column.nullable) for column in schema.table(table).c}
    assert {name: column.nullable for name, column in schema_of(table).columns.items()} == declared


@pytest.mark.parametrize(
    ("table", "frame"),
    [
        ("stock_prices_daily", bars()),
        ("crypto_prices_daily", bars().assign(adj_close=1.5)),
        ("corporate_actions", actions()),
        ("indicators_daily", indicators()),
        ("indicators_daily", indicators().head(5)),
        ("instruments", instruments()),
        ("instruments", instruments().assign(market_cap=None)),
    ],
)
def test_right_rows_are_accepted_also_when_there_are_none(table: str, frame: pd.DataFrame) -> None:
    assert len(schema_of(table).validate(frame, lazy=True)) == len(frame)
    assert len(schema_of(table).validate(frame.iloc[:0].astype(object), lazy=True)) == 0


@pytest.mark.parametrize(
    ("column", "value", "check"),
    [
        ("open", 0.0, "greater_than(0)"),
        ("close", np.inf, "finite"),
        ("high", np.nan, "not_nullable"),
        ("volume", -1.0, "greater_than_or_equal_to(0)"),
        ("source", "", "str_length(1, None)"),
        ("symbol", None, "not_nullable"),
        ("date", None, "not_nullable"),
        ("date", pd.Timestamp("2024-01-01T05:00"), "whole_day"),
        ("fetched_at", pd.NaT, "not_nullable"),
    ],
)
def test_a_wrong_value_of_a_bar_is_named_by_column_and_check(column: str, value: object, check: str) -> None:
    frame = bars()
    values = frame[column].tolist()
    frame[column] = pd.Series([values[0], value, *values[2:]], dtype=object)
    assert complaints("stock_prices_daily", frame) == [(column, check)]


def test_a_missing_and_an_unknown_column_are_named() -> None:
    frame = bars().drop(columns="volume").assign(vwap=1.0)
    assert sorted(check for _, check in complaints("stock_prices_daily", frame)) == [
        "column_in_dataframe",
        "column_in_schema",
    ]


def test_an_indicator_out_of_its_bounds_is_named() -> None:
    frame = indicators().assign(rsi_14=100.5, atr_14=-1.0)
    assert {column for column, _ in complaints("indicators_daily", frame)} == {"rsi_14", "atr_14"}


def test_an_action_of_no_known_kind_or_of_no_value_is_named() -> None:
    frame = actions().assign(kind="merger", value=0.0)
    assert {column for column, _ in complaints("corporate_actions", frame)} == {"kind", "value"}


def test_an_instrument_on_no_known_exchange_is_named() -> None:
    frame = instruments().assign(exchange="XXYZ", aliases="yahoo=A").head(1)
    assert {column for column, _ in complaints("instruments", frame)} == {"exchange", "aliases"}


def test_the_indicator_table_has_the_declared_columns_in_their_order() -> None:
    stored = [column.name for column in schema.table("indicators_daily").c]
    assert stored == ["symbol", "date", *INDICATOR_COLUMNS, "computed_at"]
