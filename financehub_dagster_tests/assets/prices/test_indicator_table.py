"""`indicators_daily`: stored values equal those over the full history, whatever was asked and whatever changed."""

from datetime import date

import numpy as np
import pytest
import talib

from financehub_dagster.ingest import derived
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.market.indicators import engine
from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS

BARS = "select date, open, high, low, close, volume from {table} where symbol = :symbol order by date"


def stored_values(platform, symbol: str) -> dict[date, tuple]:
    names = ", ".join(INDICATOR_COLUMNS)
    rows = platform.rows(f"select date, {names} from indicators_daily where symbol = :symbol", symbol=symbol)
    return {row[0]: row[1:] for row in rows}


def expected_values(platform, table: str, symbol: str) -> dict[date, np.ndarray]:
    rows = platform.rows(BARS.format(table=table), symbol=symbol)
    dates = [row[0] for row in rows]
    columns = np.array([row[1:] for row in rows], dtype=float).T
    values = engine.compute(*columns)
    return dict(zip(dates, np.column_stack([values[name] for name in INDICATOR_COLUMNS]), strict=True))


def assert_as_over_the_full_history(platform, table: str, symbol: str) -> int:
    expected = expected_values(platform, table, symbol)
    stored = stored_values(platform, symbol)
    for day, values in stored.items():
        found = np.array([np.nan if v is None else v for v in values])
        np.testing.assert_allclose(found, expected[day], rtol=1e-9, atol=1e-9, err_msg=f"{symbol} {day}")
    return len(stored)


@pytest.fixture(scope="module")
def database_template(filled):
    """Three years of two stocks and two of a crypto."""

    def with_bars(platform) -> None:
        assert platform.run("stock_prices_daily", "2013-02-01", "2016-01-01", symbols=["AAPL", "GE"]).success
        assert platform.run("crypto_prices_daily", "2018-01-01", "2019-12-01", symbols=["BTC"]).success

    return filled(with_bars)


@pytest.fixture
def with_bars(platform):
    """A platform that has bars and no indicators."""
    return platform


def test_a_month_of_indicators_equals_that_month_of_the_full_history_and_spreads_to_no_other(with_bars):
    outcome = with_bars.run("indicators_daily", "2015-03-01", symbols=["AAPL"], drawn=True)
    assert outcome.success, outcome.error
    assert "data:image/png;base64," in str(outcome.tables["indicators_daily"]["picture"])
    assert assert_as_over_the_full_history(with_bars, "stock_prices_daily", "AAPL") == 22
    months = with_bars.rows("select distinct date_trunc('month', date)::date::text from indicators_daily")
    assert months == [("2015-03-01",)], "a mark reaches from the first bar on, but nobody asked for the other months"


def test_the_whole_range_holds_stocks_and_cryptos(with_bars):
    assert with_bars.run("indicators_daily", "2013-02-01", "2019-12-01").success
    assert assert_as_over_the_full_history(with_bars, "stock_prices_daily", "GE") > 700
    assert assert_as_over_the_full_history(with_bars, "crypto_prices_daily", "BTC") == 730


def test_values_are_those_of_talib(with_bars):
    with_bars.run("indicators_daily", "2015-12-01", symbols=["GE"])
    rows = with_bars.rows(BARS.format(table="stock_prices_daily"), symbol="GE")
    close = np.array([row[4] for row in rows])
    last = {row[0]: position for position, row in enumerate(rows)}
    for day, rsi, sma in with_bars.rows("select date, rsi_14, sma_200 from indicators_daily where symbol = 'GE'"):
        assert rsi == pytest.approx(talib.RSI(close, 14)[last[day]], abs=1e-9)
        assert sma == pytest.approx(talib.SMA(close, 200)[last[day]], abs=1e-9)


def test_warm_up_rows_are_null(with_bars):
    outcome = with_bars.run("indicators_daily", "2013-02-01", "2013-12-01", symbols=["AAPL"], drawn=True)
    assert outcome.success, outcome.error
    first = with_bars.rows("select sma_20, sma_200 from indicators_daily where symbol = 'AAPL' order by date limit 1")
    assert first == [(None, None)]


def test_a_changed_bar_refreshes_every_later_stored_value_and_a_slower_run_does_not_undo_that(with_bars):
    """The slower run has read the bars before, and stores what it computed from them after the other one."""
    window = Window.of_dates(date(2014, 1, 1), date(2015, 12, 31))
    with_bars.run("indicators_daily", "2014-01-01", "2015-12-01", symbols=["AAPL", "GE"])
    slow = derived.computed("indicators_daily", "stock_prices_daily", ["AAPL", "GE"], window)
    with_bars.sandbox.set_bar("AAPL", date(2014, 6, 10), high=99.0)
    with_bars.run("stock_prices_daily", "2014-06-01", symbols=["AAPL", "GE"])
    assert dirty(with_bars) == [("AAPL", "2014-06-10")]
    outcome = with_bars.run("indicators_daily", "2015-12-01", symbols=["AAPL", "GE"])
    assert outcome.tables["indicators_daily"]["rows_updated"] > 300
    assert assert_as_over_the_full_history(with_bars, "stock_prices_daily", "AAPL") > 400
    assert assert_as_over_the_full_history(with_bars, "stock_prices_daily", "GE") > 400
    assert dirty(with_bars) == []
    derived.store(slow, window, "slow")
    assert assert_as_over_the_full_history(with_bars, "stock_prices_daily", "AAPL") > 400


def dirty(platform) -> list[tuple]:
    return platform.rows(
        "select symbol, dirty_from::text from dirty_marks where table_name = 'indicators_daily'"
        " and symbol in ('AAPL', 'GE') and dirty_from is not null"
    )


def test_an_instrument_with_a_wrong_stored_bar_is_left_out_by_name(with_bars):
    with_bars.execute("update stock_prices_daily set high = low - 1 where symbol = 'GE' and date = '2014-06-10'")
    outcome = with_bars.run("indicators_daily", "2015-03-01", symbols=["AAPL", "GE"])
    assert outcome.success
    reported = outcome.tables["indicators_daily"]
    assert reported["instruments_done"] == 1
    assert "2014-06-10" in str(reported["failures"])
    assert with_bars.rows("select distinct symbol from indicators_daily") == [("AAPL",)]


def test_a_second_run_writes_nothing(with_bars):
    with_bars.run("indicators_daily", "2014-01-01", "2014-12-01", symbols=["AAPL"])
    again = with_bars.run("indicators_daily", "2014-01-01", "2014-12-01", symbols=["AAPL"]).tables["indicators_daily"]
    assert (again["rows_inserted"], again["rows_updated"]) == (0, 0)
    assert again["rows_unchanged"] == 252
