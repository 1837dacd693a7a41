"""Tables as of a time: after any history of writes, revisions and withdrawals every past state can be read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.storage.database import as_of_functions, schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.upsert import withdrawals
from financehub_dagster.storage.upsert.upsert import write
from financehub_dagster_tests.fixtures.database import Database

SYMBOLS = ("AAPL", "B'RK\\.B")
FIRST = date(2024, 1, 2)
KINDS = ("dividend", "split")
HISTORIES = ("stock_prices_daily", "corporate_actions", "indicators_daily")


@dataclass(frozen=True)
class Step:
    """What one transaction does to some rows: values to store, or None to withdraw them."""

    rows: dict[tuple[str, int, str], float | None]


ROW = st.tuples(st.sampled_from(SYMBOLS), st.integers(0, 2), st.sampled_from(KINDS))
VALUE = st.sampled_from([1.5, 0.1 + 0.2, 1e-7, 123456789.123456]) | st.none()
STEPS = st.lists(st.builds(Step, st.dictionaries(ROW, VALUE, min_size=1, max_size=6)), min_size=1, max_size=8)


@pytest.mark.parametrize("name", HISTORIES)
@settings(max_examples=15)
@given(steps=STEPS)
def test_every_past_state_is_read_again(shared_database: Database, name: str, steps: list[Step]) -> None:
    table = schema.metadata.tables[name]
    with transaction() as connection:
        connection.execute(sa.text(f"truncate {name}, price_revisions"))
    past = []
    for step in steps:
        apply(table, step)
        past.append(state(table))
    for at, rows in past:
        assert rows_as_of(table, at) == rows
        first = [row for row in rows if row[0] == SYMBOLS[1] and row[1] >= FIRST + timedelta(days=1)]
        assert rows_as_of(table, at, "symbol = :symbol and date > :day", symbol=SYMBOLS[1], day=FIRST) == first


def apply(table: sa.Table, step: Step) -> None:
    """One transaction of the real writer, with rows stamped by the clock of a moment before."""
    with transaction() as connection:
        fetched_at = connection.execute(sa.text("select clock_timestamp()")).scalar_one()
    keys = {key if "kind" in table.c else (key[0], key[1], ""): value for key, value in step.rows.items()}
    stored = {key: value for key, value in keys.items() if value is not None}
    gone = [(symbol, FIRST + timedelta(days=day), kind) for (symbol, day, kind), value in keys.items() if value is None]
    is_derived = "computed_at" in table.c
    with transaction() as connection:
        if is_derived:
            drop(connection, gone)
        else:
            withdrawals.withdraw(connection, table.name, gone, dict.fromkeys(SYMBOLS, "yahoo"), run_id="run")
        columns = {column.name: values(column, stored, fetched_at) for column in table.columns}
        write(connection, table, columns, run_id="run", keep_revisions=True, changes_only=is_derived)


def drop(connection: sa.Connection, gone: list[tuple[str, date, str]]) -> None:
    """Take rows of indicators away as a run does: bars are there for all days but those."""
    connection.execute(sa.text("delete from stock_prices_daily"))
    connection.execute(
        sa.text(
            "insert into stock_prices_daily select s, cast(:first as date) + d, 1, 1, 1, 1, 1, 1, 'x', now() "
            "from unnest(cast(:symbols as text[])) s, generate_series(0, 2) d"
        ),
        {"symbols": list(SYMBOLS), "first": FIRST},
    )
    for symbol, day, _ in gone:
        connection.execute(
            sa.text("delete from stock_prices_daily where symbol = :symbol and date = :day"),
            {"symbol": symbol, "day": day},
        )
    since = {symbol: min(day for name, day, _ in gone if name == symbol) for symbol, _, _ in gone}
    withdrawals.drop_derived(connection, "indicators_daily", "stock_prices_daily", "session", since, run_id="run")


def values(column: sa.Column[Any], rows: Mapping[tuple[str, int, str], float | None], at: datetime) -> np.ndarray:
    """A column of rows whose numbers follow from one value; some are missing where that is allowed."""
    kinds: dict[str, Any] = {
        "symbol": [symbol for symbol, _, _ in rows],
        "date": np.array([FIRST + timedelta(days=day) for _, day, _ in rows], "datetime64[D]"),
        "kind": [kind for _, _, kind in rows],
        "source": ["yahoo"] * len(rows),
        "flags": [("spike", "stale") if value == 1.5 else () for value in rows.values()],
    }
    if column.name == "flags":
        lists = np.empty(len(rows), object)
        lists[:] = kinds["flags"]
        return lists
    if column.name in kinds:
        return np.array(kinds[column.name], None if column.name == "date" else object)
    if column.info.get("stamp"):
        return np.full(len(rows), np.datetime64(at.replace(tzinfo=None), "us"))
    odd = column.nullable and len(column.name) % 2
    return np.array([np.nan if odd and value == 1.5 else value for value in rows.values()], np.float64)


def state(table: sa.Table) -> tuple[datetime, list[tuple[Any, ...]]]:
    """The rows that are stored now, and a time at which they are."""
    with transaction() as connection:
        rows = [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]
        return connection.execute(sa.text("select clock_timestamp()")).scalar_one(), rows


def rows_as_of(table: sa.Table, at: datetime, where: str = "true", **parameters: object) -> list[tuple[Any, ...]]:
    key = ", ".join(table.primary_key.columns.keys())
    query = f"select * from {as_of_functions.function_name(table)}(:at) where {where} order by {key}"
    with transaction() as connection:
        connection.execute(sa.text("set local timezone to 'Asia/Kolkata'"))
        return [tuple(row) for row in connection.execute(sa.text(query), {"at": at, **parameters})]


def test_before_the_first_write_there_is_nothing(shared_database: Database) -> None:
    apply(schema.table("stock_prices_daily"), Step({("AAPL", 0, "split"): 1.5}))
    assert rows_as_of(schema.table("stock_prices_daily"), datetime.fromisoformat("2020-01-01T00:00+00:00")) == []


def test_a_row_stamped_by_a_clock_that_is_ahead_is_never_missing(database: Database) -> None:
    table = schema.table("stock_prices_daily")
    apply(table, Step({("AAPL", 0, ""): 1.5}))
    with transaction() as connection:
        ahead = connection.execute(sa.text("select clock_timestamp() + interval '1 hour'")).scalar_one()
        key: dict[tuple[str, int, str], float | None] = {("AAPL", 0, ""): 2.5}
        columns = {column.name: values(column, key, ahead) for column in table.columns}
        write(connection, table, columns, run_id="run", keep_revisions=True)
    closes = [rows_as_of(table, ahead + timedelta(minutes=minutes))[0][5] for minutes in (-59, -1, 0, 1)]
    assert closes == [1.5, 1.5, 2.5, 2.5]


def test_conditions_on_symbol_and_date_reach_the_keys(database: Database) -> None:
    query = "explain select * from stock_prices_daily_as_of(now()) where symbol = 'AAPL' and date = '2024-01-02'"
    with transaction() as connection:
        connection.execute(sa.text("set local enable_seqscan to off"))
        plan = "\n".join(connection.execute(sa.text(query)).scalars())
    assert "Function Scan on stock_prices_daily_as_of" not in plan
    assert "Index Cond: ((symbol = 'AAPL'::text) AND (date = '2024-01-02'::date))" in plan
    assert "(table_name = 'stock_prices_daily'::text) AND (symbol = 'AAPL'::text)" in plan
