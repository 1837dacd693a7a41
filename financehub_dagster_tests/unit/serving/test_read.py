"""`read`: the rows that were asked for, on the basis and as of the time, in the shape and for the library."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from financehub_dagster import read
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.explain import explain
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError, DatabaseUnreachable
from financehub_dagster.storage.queries import arrow
from financehub_dagster_tests.unit.serving.stored import DAYS, DIVIDEND, FIRST, SPLIT, SYMBOLS, one_in_pence

BARS = "stock_prices_daily"

pytestmark = pytest.mark.usefixtures("before")


def test_a_table_is_read_whole_in_the_order_of_its_key() -> None:
    found = read(BARS)
    assert list(found.columns) == list(schema.table("stock_prices_daily").c.keys())
    with transaction() as connection:
        stored = connection.execute(sa.select(schema.table("stock_prices_daily")).order_by("symbol", "date")).all()
    found = found.assign(flags=found["flags"].map(list))
    assert [tuple(row) for row in found.assign(date=found["date"].dt.date).itertuples(index=False)] == [
        *map(tuple, stored)
    ]
    assert found.dtypes["date"].kind == "M"
    assert str(found.dtypes["fetched_at"]) == "datetime64[us, UTC]"


@pytest.mark.parametrize("name", sorted(schema.metadata.tables))
def test_every_declared_table_can_be_read(name: str) -> None:
    assert read(name, to="arrow").column_names == list(schema.metadata.tables[name].c.keys())


def test_symbols_days_and_columns_narrow_the_rows() -> None:
    found = read(BARS, symbols="aapl, msft", start="2024-01-03", end=date(2024, 1, 4), columns=["close"])
    assert list(found.columns) == ["symbol", "date", "close"]
    assert [*found["symbol"]] == ["AAPL"] * 2 + ["MSFT"] * 2
    assert [*found["date"].dt.day] == [3, 4, 3, 4]
    assert len(read(BARS, symbols=["BRK.B"])) == DAYS


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_days_and_times_of_numpy_are_read_as_they_are(unit: str) -> None:
    day = np.datetime64("2024-01-03").astype(f"M8[{unit}]")
    assert read(BARS, start=day, end=day).equals(read(BARS, start="2024-01-03", end="2024-01-03"))
    assert len(read(BARS, start=day, end=pd.Timestamp("2024-01-04"), as_of=day + np.timedelta64(36_500, "D"))) > 0


def test_a_day_of_all_symbols_and_a_range_with_times_are_read() -> None:
    found = read(BARS, start="2024-01-03", end="2024-01-03")
    assert [*found["symbol"]] == list(SYMBOLS)
    assert len(read(BARS, start="2024-01-03", end="2024-01-04T12:00Z")) == 2 * len(SYMBOLS)
    assert len(read("quotes", start="2024-01-03T10:00", end="2024-01-03")) == 0


def test_a_symbol_without_rows_gives_no_rows_and_an_unknown_one_is_refused() -> None:
    assert read(BARS, symbols=["NONE", "AAPL"])["symbol"].unique().tolist() == ["AAPL"]
    with pytest.raises(ReadError, match=r"^unknown symbol APPL: did you mean AAPL\?$"):
        read(BARS, symbols="AAPL,APPL")


def test_text_that_is_sql_is_a_symbol_like_any_other() -> None:
    for text in ("A' OR 'a'='a", "A\\' OR true --", "A%s", 'A"'):
        with pytest.raises(ReadError, match="unknown symbol"):
            read(BARS, symbols=[text])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"table": "stock_price_daily"}, "unknown table stock_price_daily: did you mean stock_prices_daily"),
        ({"columns": "closing"}, "unknown column closing of stock_prices_daily: did you mean close?"),
        ({"start": "soon"}, "start soon: write a day as 2026-11-01 or a time as 2026-11-01T14:30Z"),
        ({"start": 20240103}, "start 20240103: write a day as"),
        ({"end": pd.NaT}, "end NaT: write a day as"),
        ({"end": np.datetime64("NaT")}, "end NaT: write a day as"),
        ({"as_of": np.float64(1)}, "as_of 1.0: write a day as"),
        ({"start": "2024-02-01", "end": "2024-01-01"}, "start 2024-02-01 is after end 2024-01-01: exchange them"),
        ({"adjust": "none"}, "unknown adjust none: there are adjusted, split, raw"),
        ({"layout": "broad"}, "unknown layout broad: there are long, wide"),
        ({"to": "excel"}, "unknown library excel: there are pandas, polars, arrow"),
        ({"symbols": " , "}, "an empty list of names: leave it out to read all"),
        ({"table": "instruments", "start": "2024-01-01"}, "the rows of instruments have no date: leave start"),
        ({"table": "instruments", "as_of": "2024-01-01"}, "instruments keeps no earlier values: as_of works for corpo"),
        ({"table": "news_articles", "symbols": "AAPL"}, "the rows of news_articles have no symbol: leave symbols out"),
        ({"table": "indicators_daily", "adjust": "raw"}, "indicators_daily has no prices to unadjust"),
        ({"table": "indicators_daily", "adjust": "adjusted"}, "indicators_daily has no adjusted close"),
        ({"table": "corporate_actions", "layout": "wide", "columns": "value"}, "corporate_actions has no single row"),
        ({"layout": "wide", "columns": "fetched_at"}, "fetched_at is neither a number nor a text"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(asked: dict[str, str], message: str) -> None:
    with pytest.raises(ReadError) as refused:
        read(**{"table": BARS, **asked})  # type: ignore[call-overload]
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_pandas_polars_and_arrow_hold_the_same() -> None:
    table, polars, pandas = read(BARS, to="arrow"), read(BARS, to="polars"), read(BARS)
    assert isinstance(table, pa.Table)
    assert isinstance(polars, pl.DataFrame)
    pd.testing.assert_frame_equal(table.to_pandas(date_as_object=False), pandas)
    assert polars.equals(pl.DataFrame(pl.from_arrow(table)))
    assert polars.schema["date"] == pl.Date


def test_the_table_as_it_was_known_before_its_values_changed(before: datetime) -> None:
    now, then = read(BARS, columns="close"), read(BARS, columns="close", as_of=before)
    raised = (now["symbol"] == "AAPL").to_numpy()
    assert (now["close"] - then["close"]).tolist() == np.where(raised, 0.25, 0).tolist()
    text = before.astimezone(UTC).replace(tzinfo=None).isoformat()
    assert read(BARS, columns="close", as_of=text).equals(then)
    assert read("indicators_daily", as_of=before)["obv"].tolist() == list(range(DAYS))
    assert read("indicators_daily")["obv"].tolist() == [number + 5 for number in range(DAYS)]
    assert len(read(BARS, as_of="2020-01-01")) == 0
    assert len(read(BARS, as_of=datetime.now(UTC) + timedelta(days=1))) == len(now)


def test_prices_as_traded_undo_the_later_splits_of_the_time(before: datetime) -> None:
    split, raw = read(BARS), read(BARS, adjust="raw")
    earlier = (split["date"] < pd.Timestamp(SPLIT)).to_numpy()
    factor = np.where((split["symbol"] == "AAPL") & earlier, 4.0, 1.0)
    for name in ("open", "high", "low", "close"):
        assert raw[name].tolist() == (split[name] * factor).tolist()
    assert raw["volume"].tolist() == (split["volume"] / factor).tolist()
    assert raw["adj_close"].equals(split["adj_close"])
    assert read(BARS, adjust="raw", columns="close").equals(raw[["symbol", "date", "close"]])
    assert read(BARS, adjust="raw", as_of=before)["close"][0] == 400


def test_cash_as_paid_undoes_the_later_splits() -> None:
    assert read("corporate_actions", adjust="raw")["value"].tolist() == [44.0, 4.0]
    assert read("corporate_actions")["value"].tolist() == [11.0, 4.0]


def test_adjusted_prices_are_all_on_the_basis_of_the_adjusted_close() -> None:
    split, found = read(BARS), read(BARS, adjust="adjusted")
    factor = np.where(split["date"] < pd.Timestamp(DIVIDEND), 0.9, 1.0)
    assert found["close"].equals(split["adj_close"])
    assert found["open"].to_numpy() == pytest.approx((split["open"] * factor).to_numpy(), rel=1e-12)
    assert found["volume"].equals(split["volume"])
    assert read(BARS, adjust="adjusted", columns="open").equals(found[["symbol", "date", "open"]])


def test_a_wide_frame_has_a_row_per_day_and_a_column_per_symbol() -> None:
    found = read(BARS, layout="wide")
    assert found.shape == (DAYS, len(SYMBOLS))
    assert list(found.columns) == list(SYMBOLS)
    assert found.index[0] == pd.Timestamp(FIRST)
    assert found["MSFT"].tolist() == [100.0 + day for day in range(DAYS)]
    several = read(BARS, layout="wide", columns="open,close", end="2024-01-02")
    assert several["close", "AAPL"].tolist() == [100.25, 101.25]
    table = read(BARS, layout="wide", columns="open,close", end="2024-01-02", to="arrow")
    assert table.column_names == ["date", *(f"{name}.{each}" for name in ("open", "close") for each in SYMBOLS)]
    assert read(BARS, layout="wide", to="polars").columns == ["date", *SYMBOLS]


@pytest.mark.parametrize("adjust", ["split", "raw"])
def test_a_whole_table_is_the_same_through_two_connections(
    before: datetime, adjust: Literal["split", "raw"], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = [read(BARS, adjust=adjust, as_of=as_of, to="arrow") for as_of in (None, before)]
    monkeypatch.setattr(arrow, "MANY", 1)
    two = [read(BARS, adjust=adjust, as_of=as_of, to="arrow") for as_of in (None, before)]
    assert [table.column("symbol").num_chunks for table in one] != [table.column("symbol").num_chunks for table in two]
    assert one == two


def test_importing_the_package_loads_nothing_heavy() -> None:
    show = "import sys, financehub_dagster; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "pandas", "numpy", "sqlalchemy", "adbc_driver_postgresql"}.intersection(loaded)


def test_a_connection_that_is_lost_while_rows_arrive_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are more than what is on its way to us when the server ends the connection."""
    with transaction() as connection:
        connection.execute(sa.text("create table many as select n, repeat('x', 1000) from generate_series(1, 20000) n"))
    mine = "query like '%' || :query || '%' and pid <> pg_backend_pid()"
    ended = sa.text(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {mine}")
    monkeypatch.setattr(arrow, "BATCH_BYTES", 10_000)
    many = sa.Table("many", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True), sa.Column("repeat", sa.Text))

    def read_on_after_the_end() -> None:
        with arrow.reading() as reader, reader.batches(arrow.Selection(many, ["n", "repeat"])) as batches:
            assert batches.read_next_batch().num_rows
            with transaction() as connection:
                assert connection.execute(ended, {"query": 'FROM "many" AS'}).scalars().all() == [True]
            batches.read_all()

    with pytest.raises(DatabaseUnreachable) as lost:
        read_on_after_the_end()
    assert "\n" not in str(lost.value)
    assert "server closed the connection" in str(lost.value) or "terminating connection" in str(lost.value)
    assert len(read(BARS)) == DAYS * len(SYMBOLS)


def test_connections_are_used_again_and_a_lost_one_is_replaced() -> None:
    mine = sa.text("select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
    read(BARS)
    read(BARS)
    with transaction() as connection:
        before = set(connection.execute(mine).scalars())
        read(BARS)
        assert set(connection.execute(mine).scalars()) == before
        connection.execute(
            sa.text("select pg_terminate_backend(pid, 5000) from unnest(:pids) pid"), {"pids": [*before]}
        )
        assert len(read(BARS)) == DAYS * len(SYMBOLS)


def test_everything_that_a_reader_reads_is_of_one_moment_and_it_cannot_write() -> None:
    read(BARS)  # so that a kept connection is used
    closes = arrow.Selection(schema.table(BARS), ["close"], ["AAPL"])
    with arrow.reading() as reader:
        before = reader.table(closes)
        with transaction() as connection:
            connection.execute(sa.text("update stock_prices_daily set close = close + 1 where symbol = 'AAPL'"))
        assert reader.table(closes) == before
    assert read(BARS, symbols="AAPL", columns="close", to="arrow")["close"] != before["close"]
    with pytest.raises(DatabaseError, match="read-only"), arrow.reading() as reader:
        reader.texts("delete from stock_prices_daily returning symbol")


def test_repaired_bars_are_in_the_unit_of_their_neighbours_and_the_stored_ones_stay() -> None:
    day = FIRST + timedelta(days=30)
    whole = read(BARS, symbols="MSFT", start=day, end=day).iloc[0]
    with one_in_pence("MSFT", day):
        assert read(BARS, symbols="MSFT", start=day, end=day)["close"].iloc[0] == pytest.approx(whole["close"] / 100)
        found = read(BARS, symbols="AAPL,MSFT", start=day, end=day, repaired=True, columns="close")
        assert found["close"].tolist() == pytest.approx([read(BARS, symbols="AAPL", start=day)["close"].iloc[0], 130.0])
        assert list(found.columns) == ["symbol", "date", "close"]
        unrepaired = read(BARS, symbols="AAPL,BRK.B", repaired=True)
        pd.testing.assert_frame_equal(unrepaired, read(BARS, symbols="AAPL,BRK.B"))


def test_a_table_without_flags_has_nothing_to_repair() -> None:
    with pytest.raises(ReadError, match="indicators_daily has no flags"):
        read("indicators_daily", repaired=True)


@pytest.mark.parametrize(("name", "told"), [("AAPL\0", "a character 0"), ("AAPL\udcff", "is no text in UTF-8")])
def test_a_name_that_the_database_cannot_be_asked_about_is_refused(name: str, told: str) -> None:
    with pytest.raises(ReadError, match=told):
        read(BARS, symbols=["AAPL", name])
    with pytest.raises(ReadError, match=told):
        explain(name, FIRST)
