"""The small stores: universe, dead letters, rejected rows, and bars as arrays."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import UnknownInstruments
from financehub_dagster.storage.dead_letters.dead_letters import (
    Failure,
    live_failures,
    record_failures,
    resolve_failures,
)
from financehub_dagster.storage.queries import history
from financehub_dagster.storage.queries.bars import read_bars
from financehub_dagster.storage.queries.instruments import (
    UpsertResult,
    deactivate_instruments,
    list_instruments,
    upsert_instruments,
)
from financehub_dagster.storage.upsert.rejected_rows import record_rejections
from financehub_dagster.storage.upsert.upsert import write
from financehub_dagster_tests.fixtures.database import Database

APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", market_cap=3e12, aliases={"yahoo": "AAPL"})
SPY = Instrument("SPY", "S&P 500 fund", AssetType.ETF, "ARCX", timezone="America/New_York")
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", market_cap=1e12, aliases={"binance": "BTCUSDT"})
OLD = Instrument("OLD", "Gone", AssetType.STOCK, "XNYS", is_active=False, market_cap=5e12)
ALL = [SPY, APPLE, BITCOIN, OLD]


def test_instruments_come_back_as_they_were_stored_the_most_important_first(database: Database) -> None:
    with transaction() as connection:
        assert upsert_instruments(connection, ALL) == UpsertResult(4, 0, 0)
        assert list_instruments(connection) == [APPLE, BITCOIN, SPY]
        assert list_instruments(connection, active=None) == [OLD, APPLE, BITCOIN, SPY]
        assert list_instruments(connection, asset_types=[AssetType.STOCK, AssetType.ETF]) == [APPLE, SPY]
        assert list_instruments(connection, asset_types=[]) == []
        assert list_instruments(connection, symbols=["SPY", "BTC"]) == [BITCOIN, SPY]
        assert list_instruments(connection, symbols=["OLD"]) == []


def test_an_upsert_counts_what_it_changed(database: Database) -> None:
    renamed = Instrument("SPY", "SPDR S&P 500", AssetType.ETF, "ARCX", timezone="America/New_York")
    with transaction() as connection:
        upsert_instruments(connection, [APPLE, SPY])
        assert upsert_instruments(connection, [APPLE, renamed, BITCOIN]) == UpsertResult(1, 1, 1)
        assert upsert_instruments(connection, []) == UpsertResult(0, 0, 0)
        assert list_instruments(connection, symbols=["SPY"]) == [renamed]


def test_ten_thousand_instruments_are_stored_at_once(database: Database) -> None:
    many = [Instrument(f"S{n}", f"S{n}", AssetType.STOCK, "XNYS", aliases={"yahoo": f"s{n}"}) for n in range(10_000)]
    with transaction() as connection:
        assert upsert_instruments(connection, many) == UpsertResult(10_000, 0, 0)
        assert upsert_instruments(connection, many) == UpsertResult(0, 0, 10_000)
        assert list_instruments(connection, symbols=["S9999"]) == many[-1:]


def test_large_tables_are_counted_by_the_planners_estimate(database: Database, monkeypatch) -> None:
    with transaction() as connection:
        upsert_instruments(connection, ALL)
        assert history.row_counts(connection, ["instruments", "quotes"]) == {"instruments": 4, "quotes": 0}
        connection.execute(sa.text("analyze instruments"))
        upsert_instruments(connection, [Instrument("NEW", "New", AssetType.STOCK, "XNYS")])
        assert history.row_counts(connection, ["instruments"]) == {"instruments": 5}
        monkeypatch.setattr(history, "MANY", 3)
        assert history.row_counts(connection, ["instruments"]) == {"instruments": 4}


def test_unknown_symbols_are_named_and_nothing_changes(database: Database) -> None:
    with transaction() as connection:
        upsert_instruments(connection, ALL)
        with pytest.raises(UnknownInstruments, match="no such instrument: NOPE, NADA") as caught:
            list_instruments(connection, symbols=["AAPL", "NOPE", "NADA"])
        assert caught.value.symbols == ["NOPE", "NADA"]
        with pytest.raises(UnknownInstruments, match="NOPE"):
            deactivate_instruments(connection, ["AAPL", "NOPE"])
        assert APPLE in list_instruments(connection)


def test_a_deactivated_instrument_leaves_the_universe_and_stays_known(database: Database) -> None:
    with transaction() as connection:
        upsert_instruments(connection, ALL)
        assert deactivate_instruments(connection, ["AAPL", "OLD"]) == 1
        assert list_instruments(connection) == [BITCOIN, SPY]
        assert len(list_instruments(connection, active=None)) == 4


def fail(run: str | None, symbol: str = "AAPL", exception: str = "Unreachable: yahoo") -> None:
    with transaction() as connection:
        kwargs = {"symbols": [symbol]}
        work = Failure("stock_prices_daily", exception, "2024-01-01", symbol, "yahoo", kwargs, run_id=run)
        record_failures(connection, [work])


def test_failed_work_has_one_live_row_that_counts_its_attempts_and_waits_longer_each_time(database: Database) -> None:
    seen = []
    for number in range(7):
        fail(f"run-{number}")
        with transaction() as connection:
            (row,) = live_failures(connection, "stock_prices_daily")
        due, last = row["next_retry_at"], row["last_failed_at"]
        wait = due - last if isinstance(due, datetime) and isinstance(last, datetime) else None
        seen.append((row["attempts"], row["status"], wait))
    waits = [timedelta(seconds=60 * 2**n) for n in range(5)]
    assert seen[:5] == [(n + 1, "open", wait) for n, wait in enumerate(waits)]
    assert seen[5:] == [(6, "parked", None), (7, "parked", None)]


def test_the_same_run_reports_a_failure_once(database: Database) -> None:
    fail("run-1")
    fail("run-1", exception="reported by the sensor too")
    with transaction() as connection:
        (row,) = live_failures(connection)
    assert (row["attempts"], row["exception"]) == (1, "Unreachable: yahoo")


def test_success_resolves_the_row_and_a_later_failure_opens_a_new_one(database: Database) -> None:
    fail("run-1")
    fail("run-1", symbol="MSFT")
    where = {"task_name": "stock_prices_daily", "partition_key": "2024-01-01"}
    with transaction() as connection:
        assert resolve_failures(connection, **where, symbols=["AAPL", "GOOG"]) == 1
        assert [row["symbol"] for row in live_failures(connection)] == ["MSFT"]
    fail("run-2")
    with transaction() as connection:
        assert resolve_failures(connection, **where) == 2
        assert live_failures(connection) == []
        statuses = connection.execute(sa.select(schema.task_failures.c.status)).scalars().all()
    assert statuses == ["resolved"] * 3


def rejected(close: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": ["AAPL", "AAPL"],
            "date": pd.to_datetime(["2024-01-02", "2024-01-03"]),
            "rule": ["positive", "finite"],
            "source": ["yahoo", "yahoo"],
            "close": [close, np.nan],
            "volume": [1.0, np.inf],
            "fetched_at": pd.Timestamp.now("UTC"),
        }
    )


def test_a_rejected_row_is_written_down_once_however_often_it_is_sent(database: Database) -> None:
    with transaction() as connection:
        assert record_rejections(connection, "stock_prices_daily", rejected(-1.0), run_id="run-1") == 2
        assert record_rejections(connection, "stock_prices_daily", rejected(-1.0), run_id="run-2") == 0
        assert record_rejections(connection, "stock_prices_daily", rejected(-2.0), run_id="run-3") == 1
        assert record_rejections(connection, "stock_prices_daily", rejected(0.0)[:0], run_id="run-4") == 0
        columns = schema.rejected_rows.c
        query = sa.select(columns.date, columns.rule, columns.row, columns.run_id).order_by(columns.date)
        assert [tuple(row) for row in connection.execute(query)] == [
            (date(2024, 1, 2), "positive", {"close": -2.0, "volume": 1.0}, "run-3"),
            (date(2024, 1, 3), "finite", {"close": "nan", "volume": "inf"}, "run-1"),
        ]


def test_what_is_missing_in_a_rejected_row_is_null_unless_it_is_a_number(database: Database) -> None:
    author, published_at = pd.Series([None], dtype="str"), pd.Series([pd.NaT], dtype="datetime64[us, UTC]")
    rows = rejected(np.nan)[:1].drop(columns="volume").assign(author=author, published_at=published_at)
    with transaction() as connection:
        record_rejections(connection, "stock_prices_daily", rows, run_id=None)
        kept = connection.execute(sa.select(schema.rejected_rows.c.row)).scalar_one()
    assert kept == {"close": "nan", "author": None, "published_at": None}


@pytest.fixture
def stored_bars(database: Database) -> pd.DataFrame:
    """Three instruments of different lengths, one of them with holes."""
    rng = np.random.default_rng(3)
    days = pd.date_range("2024-01-01", periods=40).astype("datetime64[s]")
    parts = [
        pd.DataFrame({"symbol": symbol, "date": days[chosen]})
        for symbol, chosen in [("AAPL", slice(0, 40)), ("BRK-B", slice(5, 9)), ("Z", slice(0, 40, 7))]
    ]
    frame = pd.concat(parts, ignore_index=True).astype({"symbol": object})
    for name in ("open", "high", "low", "close", "volume"):
        frame[name] = rng.random(len(frame)) * 1000
    with transaction() as connection:
        columns = {str(name): frame[name].to_numpy() for name in frame}
        rest = {"adj_close": np.full(len(frame), np.nan), "source": np.full(len(frame), "yahoo", object)}
        rest["fetched_at"] = np.full(len(frame), np.datetime64("2024-03-01"))
        table = schema.table("stock_prices_daily")
        write(connection, table, {**columns, **rest}, run_id=None, keep_revisions=False)
    return frame


def test_bars_come_back_bit_for_bit_in_order(stored_bars: pd.DataFrame) -> None:
    with transaction() as connection:
        bars = read_bars(connection, "stock_prices_daily")
    assert bars.symbols == ["AAPL", "BRK-B", "Z"]
    assert bars.offsets.tolist() == [0, 40, 44, 50]
    assert bars.date.dtype == np.dtype("datetime64[D]")
    pd.testing.assert_frame_equal(bars.frame(), stored_bars, check_dtype=False, check_exact=True)


def test_bars_can_be_narrowed_to_symbols_and_days(stored_bars: pd.DataFrame) -> None:
    with transaction() as connection:
        bars = read_bars(connection, "stock_prices_daily", ["Z", "NOPE", "AAPL"], date(2024, 1, 8), date(2024, 1, 15))
        nothing = read_bars(connection, "crypto_prices_daily", ["AAPL"])
    assert bars.symbols == ["AAPL", "Z"]
    assert bars.offsets.tolist() == [0, 8, 10]
    assert bars.date[-2:].astype(str).tolist() == ["2024-01-08", "2024-01-15"]
    assert nothing.symbols == []
    assert nothing.offsets.tolist() == [0]
    assert len(nothing.frame()) == 0
