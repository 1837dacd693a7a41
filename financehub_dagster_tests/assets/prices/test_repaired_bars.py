"""The views of repaired bars: right after every write, in any order, and raw rows stay as vendors sent them."""

from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from financehub_dagster import read
from financehub_dagster.cli.reports import explain as report
from financehub_dagster.ingest.history import doubtful
from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.market.quality import doubts, repairs, series_arrays
from financehub_dagster.serving.explain import explain
from financehub_dagster.storage import repaired_bars
from financehub_dagster.storage.database import repaired_views, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.upsert.upsert import write
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.faulty_series import Case, Error, injected, real_cases

STOCKS, MARCH = "stock_prices_daily", "2015-03-01"
DAY = date(2015, 3, 12)
NAMES = ", ".join(DAILY_VALUES)


def split_for_five_bars() -> Case:
    """Prices step by the ratio of a split, and back five bars later."""
    good = injected.clean("KO")
    within = good.bars.index.isin(range(600, 605))
    bars = good.bars.assign(**{name: good.bars[name].where(~within, good.bars[name] / 2) for name in injected.PRICES})
    split = pd.DataFrame({"symbol": "KO", "date": bars["date"][[600]], "kind": "split", "value": 2.0})
    return Case("KO", bars, pd.concat([good.actions, split]), [Error("split", 600, 604, frozenset())])


CASES = [case for case in real_cases() if case.name in ("CLC-L", "DEX-AX", "KAP-IL", "KEN-TA")]
CASES += [injected.KINDS[kind](injected.clean("KO"), 600, np.random.default_rng(kind)) for kind in (0, 1, 8, 9, 10)]
CASES += [split_for_five_bars()]


def one_bar(platform: Platform, table: str) -> tuple[float, ...]:
    query = f"select open, high, low, close from {table} where symbol = 'AAPL' and date = :day"
    [found] = platform.rows(query, day=DAY)
    return tuple(found)


def test_a_view_shows_a_bar_in_the_unit_of_its_neighbours_until_the_vendor_corrects_it(platform, sandbox):
    assert platform.run(STOCKS, MARCH, symbols=["AAPL"]).success
    right = one_bar(platform, STOCKS)
    names = ("open", "high", "low", "close")
    sandbox.set_bar("AAPL", DAY, **{name: value / 100 for name, value in zip(names, right, strict=True)})
    assert platform.run(STOCKS, MARCH, symbols=["AAPL"]).success
    assert one_bar(platform, STOCKS) == pytest.approx([value / 100 for value in right])
    assert one_bar(platform, f"{STOCKS}_repaired") == pytest.approx(right)
    changed = f"select symbol, date from {STOCKS}_repaired where repaired"
    assert platform.rows(changed) == [("AAPL", DAY)]
    assert read(STOCKS, start=DAY, end=DAY, repaired=True)["close"].tolist() == pytest.approx([right[3]])
    as_of = datetime.now(UTC)
    pd.testing.assert_frame_equal(read(STOCKS, repaired=True), read(STOCKS, repaired=True, as_of=as_of))
    told = explain("AAPL", DAY)
    assert told.row is not None
    assert told.repaired["close"] == pytest.approx(told.row["close"] * 100)
    assert f"  read with repairs: open {told.repaired['open']:.10g}, high" in "\n".join(report._lines(told))

    sandbox.set_bar("AAPL", DAY, **dict(zip(names, right, strict=True)))
    assert platform.run(STOCKS, MARCH, symbols=["AAPL"]).success
    assert one_bar(platform, f"{STOCKS}_repaired") == pytest.approx(right)
    assert platform.rows(changed) == platform.rows("select symbol from repaired_bars") == []


def stored_as_series(connection: Connection, case: Case) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """All that is stored, and what its repair gives."""
    bars = schema.table(STOCKS).c
    own = sa.select(*bars).where(bars.symbol == case.name).order_by(bars.date)
    rows = pd.DataFrame(connection.execute(own).mappings().all())
    rows = rows.assign(date=pd.to_datetime(rows["date"]), adj_close=rows["adj_close"].astype(float))
    series = series_arrays.arrange(rows, case.actions)
    bits = np.array([doubts.bits_of(flags) for flags in rows["flags"]], np.uint32)
    return rows, repairs.repair(series, bits).columns


def store_piece(connection: Connection, case: Case, piece: pd.DataFrame) -> None:
    """What a run does with bars that it fetched."""
    stamped = piece.assign(source="yahoo", fetched_at=datetime.now(UTC).replace(tzinfo=None))
    judged = doubtful.with_flags(connection, STOCKS, stamped, case.actions, {case.name})
    columns = {column.name: judged[column.name].to_numpy() for column in schema.table(STOCKS).c}
    write(connection, schema.table(STOCKS), columns, run_id="a run", keep_revisions=False)
    flags = {case.name: set().union(*judged["flags"])}
    repaired_bars.refresh(connection, STOCKS, flags, {case.name: piece["date"].min().date()})


@pytest.mark.parametrize("case", CASES, ids=[f"{case.name} {number}" for number, case in enumerate(CASES)])
def test_the_view_is_the_repair_of_what_is_stored_after_each_piece_of_a_history(database: Database, case: Case) -> None:
    rng = np.random.default_rng(len(case.bars))
    bars = case.bars[["symbol", "date", *DAILY_VALUES]]
    wrong = case.errors[0].first
    edges = sorted({0, wrong + 1, wrong + 3, *rng.integers(1, len(bars), 4).tolist(), len(bars)})
    pieces = [bars.iloc[start:end] for start, end in pairwise(edges)]
    actions = case.actions.assign(source="yahoo", fetched_at=datetime.now(UTC).replace(tzinfo=None))
    columns = {str(name): actions[name].to_numpy() for name in actions}
    with transaction() as connection:
        write(connection, schema.actions, columns, run_id="a run", keep_revisions=False)
    for at in [*range(len(pieces)), *rng.permutation(len(pieces))]:
        with transaction() as connection:
            store_piece(connection, case, pieces[at])
            rows, expected = stored_as_series(connection, case)
            view = sa.text(f"select {NAMES}, repaired from {STOCKS}_repaired order by date")
            found = pd.DataFrame(connection.execute(view).mappings().all())
            for name in DAILY_VALUES:
                np.testing.assert_allclose(found[name].astype(float), expected[name], rtol=1e-12, err_msg=name)
            moved = ~np.isclose(
                found[list(DAILY_VALUES)].astype(float), rows[list(DAILY_VALUES)], rtol=1e-12, equal_nan=True
            )
            np.testing.assert_array_equal(found["repaired"], moved.any(axis=1))


def test_a_table_whose_comment_has_an_apostrophe_gets_its_view(database: Database) -> None:
    metadata = sa.MetaData()
    key = (sa.Column("symbol", sa.Text, primary_key=True), sa.Column("date", sa.Date, primary_key=True))
    values = (sa.Column(name, sa.Double) for name in DAILY_VALUES)
    flags: sa.Column[list[str]] = sa.Column("flags", sa.ARRAY(sa.Text))
    sa.Table("own_bars", metadata, *key, *values, flags, comment="An exchange's bars.")
    with database.engine.begin() as connection:
        metadata.create_all(connection)
        repaired_views.create(connection, metadata)
        told = connection.execute(sa.text("select obj_description('own_bars_repaired'::regclass)")).scalar_one()
    assert told.startswith("An exchange's bars. With the repairs")
