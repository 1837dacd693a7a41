"""A new symbol: every row of every table moves in one transaction, and the old symbol still finds the instrument."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, DATEMULTIRANGE, JSONB

from financehub_dagster.market.former_aliases import FormerAlias
from financehub_dagster.market.instruments import AssetType, Instrument, InstrumentError
from financehub_dagster.storage.database import month_partitions, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.errors import SymbolGivenUp, UnknownInstruments
from financehub_dagster.storage.identity.renaming import Renaming, rename
from financehub_dagster.storage.queries.given_up import present_symbols
from financehub_dagster.storage.queries.instruments import (
    deactivate_instruments,
    list_instruments,
    upsert_instruments,
)
from financehub_dagster.storage.upsert.upsert import write
from financehub_dagster_tests.fixtures.database import Database

FB = Instrument("FB", "Facebook", AssetType.STOCK, "XNAS", aliases={"finnhub": "FB"})
OTHER = Instrument("F", "Ford", AssetType.STOCK, "XNYS")
SINCE = date(2022, 6, 9)
TABLES = [table for table in schema.metadata.tables.values() if "symbol" in table.c and table.name != "instruments"]
VALUES: list[tuple[type[sa.types.TypeEngine[Any]], str]] = [
    (ARRAY, "'{}'"),
    (DATEMULTIRANGE, "'{}'"),
    (JSONB, "'{}'"),
    (sa.DateTime, "'2024-01-02T00:00Z'"),
    (sa.Date, "'2024-01-02'"),
    (sa.Double, "1"),
    (sa.Integer, "1"),
    (sa.Boolean, "true"),
    (sa.Text, "'x'"),
]
"""A value of each type that a column may need."""


def fill(connection: Connection, table: sa.Table, symbol: str) -> None:
    """One row of an instrument, with a value in every column that needs one."""
    if table.name == "news_links":
        news = schema.news_articles
        needed = [column for column in news.c if not column.nullable and column.server_default is None]
        insert(connection, news, needed, {})
    if month_partitions.is_partitioned(table):
        month_partitions.ensure_months(connection, table.name, [date(2024, 1, 1)])
    needed = [
        each
        for each in table.c
        if each.name == "symbol" or not (each.nullable or each.server_default is not None or each.identity is not None)
    ]
    special = {"symbol": f"'{symbol}'", "stop": "'2024-01-03T00:00Z'"}
    if "table_name" in table.c:
        special["table_name"] = "'stock_prices_daily'"
    insert(connection, table, needed, special)


def insert(connection: Connection, table: sa.Table, columns: list[Any], special: dict[str, str]) -> None:
    values = [
        special.get(column.name) or next(value for kind, value in VALUES if isinstance(column.type, kind))
        for column in columns
    ]
    names = ", ".join(f'"{column.name}"' for column in columns)
    connection.exec_driver_sql(
        f"insert into {table.name} ({names}) values ({', '.join(values)}) on conflict do nothing"
    )


def counts(symbol: str) -> dict[str, int]:
    with transaction() as connection:
        query = sa.select(sa.func.count())
        return {
            table.name: connection.execute(query.select_from(table).where(table.c.symbol == symbol)).scalar_one()
            for table in TABLES
        }


@pytest.fixture
def stored(database: Database) -> dict[str, int]:
    """A row of FB and one of F in every table that has symbols."""
    with transaction() as connection:
        upsert_instruments(connection, [FB, OTHER])
        for table in TABLES:
            for each in (FB, OTHER):
                fill(connection, table, each.symbol)
    found = counts("FB")
    assert [name for name, count in found.items() if not count] == []
    return found


def renamed(old: str = "FB", new: str = "META", since: date = SINCE, **more: Any) -> Renaming:
    with transaction() as connection:
        return rename(connection, old, new, since, **more)


def test_every_row_of_every_table_moves_and_those_of_others_stay(stored: dict[str, int]) -> None:
    others = counts("F")
    done = renamed(aliases={"finnhub": "META"})
    assert (done.changed, done.rows) == (True, stored)
    assert counts("META") == stored
    assert set(counts("FB").values()) == {0}
    assert counts("F") == others
    with transaction() as connection:
        [found] = list_instruments(connection, symbols=["META"])
    former = (FormerAlias("financehub", "FB", date(2022, 6, 8)),)
    assert found == replace(FB, symbol="META", aliases={"finnhub": "META"}, former_aliases=former)


def test_a_second_call_changes_nothing(stored: dict[str, int]) -> None:
    renamed()
    assert renamed() == Renaming("FB", "META", SINCE, False, {}, (FormerAlias("financehub", "FB", date(2022, 6, 8)),))
    assert counts("META") == stored


def test_a_transaction_that_breaks_off_moves_nothing(stored: dict[str, int]) -> None:
    with transaction() as connection:
        assert rename(connection, "FB", "META", SINCE).changed
        connection.rollback()
    assert counts("FB") == stored
    assert renamed().changed


def test_the_old_symbol_finds_the_instrument_until_another_one_takes_it(stored: dict[str, int]) -> None:
    renamed()
    with transaction() as connection:
        assert present_symbols(connection, ["FB", "F", "NOPE"]) == ["META", "F", "NOPE"]
        assert [each.symbol for each in list_instruments(connection, symbols=["FB"])] == ["META"]
        upsert_instruments(connection, [replace(FB, name="Another company")])
        assert [each.name for each in list_instruments(connection, symbols=["FB"])] == ["Another company"]
        assert present_symbols(connection, ["FB"]) == ["FB"]
        assert deactivate_instruments(connection, ["META"]) == 1


def test_an_instrument_keeps_its_permanent_id_and_a_symbol_belongs_to_one_at_a_time(database: Database) -> None:
    with transaction() as connection:
        upsert_instruments(connection, [FB, OTHER])
        [before] = list_instruments(connection, symbols=["FB"])
    renamed()
    renamed("META", "METV", date(2030, 1, 1))
    with transaction() as connection:
        upsert_instruments(connection, [replace(FB, name="Another company"), replace(OTHER, name="Ford Motor")])
        found = {each.symbol: each.permanent_id for each in list_instruments(connection)}
        rows = connection.execute(sa.text("select * from symbol_history()")).all()
    facebook, another, ford = found["METV"], found["FB"], found["F"]
    assert before.permanent_id == facebook
    assert len({facebook, another, ford, None}) == 4
    assert [tuple(row) for row in rows] == [
        (ford, "F", None, None),
        (facebook, "FB", None, date(2022, 6, 8)),
        (another, "FB", SINCE, None),
        (facebook, "META", SINCE, date(2029, 12, 31)),
        (facebook, "METV", date(2030, 1, 1), None),
    ]


def test_work_that_waits_names_it_anew(database: Database) -> None:
    with transaction() as connection:
        upsert_instruments(connection, [FB, OTHER])
        connection.exec_driver_sql(
            "insert into task_failures (task_name, exception, kwargs) values ('quotes', 'broke',"
            """ '{"symbols": ["F", "FB"], "config": {"symbols": ["FB"], "note": "FB2 or FB"}}')"""
        )
    renamed()
    with transaction() as connection:
        kwargs = connection.execute(sa.text("select kwargs from task_failures")).scalar_one()
    assert kwargs == {"symbols": ["F", "META"], "config": {"symbols": ["META"], "note": "FB2 or FB"}}


def test_a_symbol_that_is_taken_is_refused_and_nothing_changes(stored: dict[str, int]) -> None:
    with pytest.raises(InstrumentError, match=r"^F is Ford already: .*`financehub instruments rename F F.OLD`"):
        renamed(new="F")
    with transaction() as connection:
        connection.exec_driver_sql("insert into holdings values ('main', 'META', '2024-01-02', 1, 1)")
    with pytest.raises(InstrumentError, match="^holdings has rows of a former META"):
        renamed()
    with pytest.raises(UnknownInstruments, match="NOPE"):
        renamed("NOPE")
    assert counts("FB") == stored


def test_it_can_be_renamed_again_and_back(stored: dict[str, int]) -> None:
    renamed()
    with pytest.raises(InstrumentError, match="META is its symbol since 2022-06-09: name a later day"):
        renamed("META", "FBX", SINCE)
    done = renamed("META", "FB", date(2024, 1, 2))
    assert [(each.symbol, each.since, each.until) for each in done.former_aliases] == [
        ("FB", None, date(2022, 6, 8)),
        ("META", SINCE, date(2024, 1, 1)),
    ]
    assert counts("FB") == stored
    with transaction() as connection:
        assert present_symbols(connection, ["META"]) == ["FB"]


def test_rows_that_were_asked_for_under_the_old_symbol_are_not_stored_under_it(stored: dict[str, int]) -> None:
    """A run that goes on while its instrument is renamed would leave rows that nobody finds."""
    renamed()
    day = np.array(["2024-01-03"], "M8[D]")
    price = {name: np.array([1.0]) for name in ("open", "high", "low", "close", "adj_close", "volume")}
    rows = {"symbol": np.array(["FB"], object), "date": day, **price, "source": np.array(["yahoo"], object)}
    stamp = np.array(["2024-01-04"], "M8[us]")
    bars = schema.table("stock_prices_daily")
    with transaction() as connection:
        with pytest.raises(SymbolGivenUp, match="FB has become META since its rows were asked for: run it again"):
            write(connection, bars, {**rows, "fetched_at": stamp}, run_id="r", keep_revisions=True)
        rows["symbol"] = np.array(["META"], object)
        assert write(connection, bars, {**rows, "fetched_at": stamp}, run_id="r", keep_revisions=True).inserted == 1
