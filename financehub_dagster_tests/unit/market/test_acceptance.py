"""What a table takes of a vendor's rows never breaks the schema of its check, and one bad row costs no other."""

import numpy as np
import pandas as pd
import pandera.errors
import pandera.pandas as pa
import pytest

from financehub_dagster.market import schemas
from financehub_dagster.market.quality import acceptance
from financehub_dagster.market.quality.limits import Kind
from financehub_dagster.tables import DATA
from financehub_dagster.tables.declaration import Derived, Maintained

NOW = pd.Timestamp("2024-03-05T21:00", tz="UTC")
SAMPLES: dict[Kind, object] = {
    Kind.NUMBER: 7.0,
    Kind.TEXT: "Apple",
    Kind.DAY: pd.Timestamp("2024-03-05"),
    Kind.INSTANT: NOW,
    Kind.LIST: ["spike"],
}
SPECIAL = {"currency": "USD", "kind": "split", "url": "https://a.example/1"}
BAD: dict[Kind, list[object]] = {
    Kind.NUMBER: [np.nan, np.inf, -np.inf, -101.0, -1.0, 0.0, 0.5, 2.0**1000],
    Kind.TEXT: [None, "", "\0", "a\0b", "usd", "merger", "ftp://a.example", "\ud800", 7, ["a"], {"a": 1}],
    Kind.DAY: [pd.NaT, pd.Timestamp("2024-03-05T05:00")],
    Kind.LIST: [None],
    Kind.INSTANT: [pd.NaT, pd.Timestamp("1700-01-01", tz="UTC"), pd.Timestamp("2200-01-01", tz="UTC")],
}
DTYPES = {
    Kind.NUMBER: "float64",
    Kind.TEXT: "object",
    Kind.LIST: "object",
    Kind.DAY: "datetime64[us]",
    Kind.INSTANT: "datetime64[us, UTC]",
}
TABLES = [name for name, table in DATA.items() if not isinstance(table.filled, Maintained | Derived)]
LIMITS = {name: DATA[name].limits for name in TABLES}


def judge(table: str, rows: pd.DataFrame) -> acceptance.Judged:
    return acceptance.judge(DATA[table].limits, DATA[table].rules, rows)


def schema_of(table: str) -> pa.DataFrameSchema:
    return schemas.schema_of(table, DATA[table].limits)


def frame(table: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows of a table, each right but for what it changes."""
    right = {name: SPECIAL.get(name, SAMPLES[limit.kind]) for name, limit in LIMITS[table].items()}
    whole = [right | row for row in rows]
    return pd.DataFrame(
        {
            name: pd.Series([row[name] for row in whole], dtype=DTYPES[limit.kind])
            for name, limit in LIMITS[table].items()
        }
    )


def changes(table: str) -> list[dict[str, object]]:
    return [{name: value} for name, limit in LIMITS[table].items() for value in BAD[limit.kind]]


@pytest.mark.parametrize("table", TABLES)
def test_what_is_taken_keeps_the_schema_whatever_was_sent(table: str) -> None:
    good, rejected, _ = judge(table, frame(table, [{}, *changes(table), {}]))
    assert len(schema_of(table).validate(good, lazy=True)) == len(good)
    assert len(good) + len(rejected) == len(changes(table)) + 2
    assert {0, len(changes(table)) + 1} <= set(good.index)
    assert (rejected["rule"] != "").all()


def different() -> list[str]:
    """The first of all tables with the same limits and rules."""
    found: list[str] = []
    for table in TABLES:
        if not any((LIMITS[each], DATA[each].rules) == (LIMITS[table], DATA[table].rules) for each in found):
            found.append(table)
    return found


def breaks_the_schema(table: str, rows: pd.DataFrame, column: str) -> bool:
    """Whether the schema, which judges each column by itself, refuses the values of one."""
    try:
        schemas.schema_of(table, {column: LIMITS[table][column]}).validate(rows[[column]], lazy=True)
    except pandera.errors.SchemaErrors:
        return True
    return False


@pytest.mark.parametrize("table", different())
def test_what_breaks_the_schema_is_left_out_and_nothing_else(table: str) -> None:
    for change in changes(table):
        [name] = change
        rows = frame(table, [change])
        good, rejected, unread = judge(table, rows)
        if breaks_the_schema(table, rows, name):
            assert len(rejected) + len(unread) == 1, change
            assert len(rejected) == 0 if LIMITS[table][name].optional else len(good) == 0, change


def test_a_value_that_may_be_unknown_costs_its_row_nothing() -> None:
    rows = frame("quotes", [{"open": 0.0, "low": -1.0}, {"price": -1.0, "open": 0.0}])
    good, rejected, unread = judge("quotes", rows)
    assert good.index.tolist() == [0]
    assert good[["open", "low"]].isna().all(axis=None)
    assert good["price"].tolist() == [7.0]
    assert rejected[["open", "rule"]].to_numpy().tolist() == [[0.0, "positive"]]
    assert unread[["open", "low", "rule"]].to_numpy().tolist() == [
        [0.0, -1.0, "open_positive"],
        [0.0, -1.0, "low_positive"],
    ]


def test_rows_without_fault_are_the_same_rows() -> None:
    rows = frame("stock_prices_daily", [{}, {"adj_close": np.nan}]).set_axis([4, 9])
    good, rejected, unread = judge("stock_prices_daily", rows)
    pd.testing.assert_frame_equal(good, rows)
    assert (len(rejected), len(unread)) == (0, 0)
    assert len(judge("corporate_actions", frame("corporate_actions", [])).good) == 0
