"""`signals`: what is stored is what the stored bars make fire, whatever was asked and whatever changed."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from financehub_dagster.ingest import derived
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.signals.firing import compute

BARS = "select date, open, high, low, close, volume from stock_prices_daily where symbol = :symbol order by date"
STORED = "select date, rule, direction, price from signals where symbol = :symbol and date >= :since"


def expected(platform, symbol: str, since: date) -> set[tuple]:
    """The signals of the stored bars from a date on, as the pure function has them."""
    days, *prices = zip(*platform.rows(BARS, symbol=symbol), strict=True)
    arrays = [np.array(each, float) for each in prices]
    bars = BarArrays([symbol], np.array([0, len(days)]), np.array(days, "datetime64[D]"), *arrays)
    rows = compute(bars, np.ones(len(days), np.bool_))
    found = zip(rows.date.tolist(), *(rows.values[name] for name in ("rule", "direction", "price")), strict=True)
    return {row for row in found if row[0] >= since}


def stored(platform, symbol: str, since: date = date.min) -> set[tuple]:
    return set(platform.rows(STORED, symbol=symbol, since=since))


@pytest.fixture(scope="module")
def database_template(filled):
    """Two years of two stocks, with their signals."""

    def with_signals(platform) -> None:
        for table in ("stock_prices_daily", "signals"):
            assert platform.run(table, "2013-02-01", "2015-01-01", symbols=["AAPL", "GE"]).success

    return filled(with_signals)


def test_signals_of_months_that_were_asked_for_are_those_of_the_full_history(platform):
    platform.execute("delete from signals")
    outcome = platform.run("signals", "2014-11-01", "2015-01-01", symbols=["AAPL"], checked=True)
    assert outcome.success, outcome.error
    assert all(check.passed for check in outcome.checks)
    assert stored(platform, "AAPL") == expected(platform, "AAPL", date(2014, 11, 1))
    assert {"sma_20_50", "pivot_1"} < {rule for _, rule, _, _ in stored(platform, "AAPL")}
    assert stored(platform, "GE") == set()


def test_an_instrument_whose_bars_are_new_gets_the_signals_of_all_of_them(platform):
    platform.run("stock_prices_daily", "2014-01-01", "2014-12-01", symbols=["KO"])
    platform.run("signals", "2014-12-01", symbols=["KO"])
    assert stored(platform, "KO") == expected(platform, "KO", date.min)
    assert min(stored(platform, "KO"))[0] < date(2014, 6, 1)


def test_a_second_run_changes_nothing(platform):
    assert stored(platform, "GE") == expected(platform, "GE", date.min)
    before = platform.rows("select * from signals order by symbol, date, rule")
    outcome = platform.run("signals", "2013-02-01", "2015-01-01")
    assert outcome.tables["signals"]["rows_inserted"] == outcome.tables["signals"]["rows_updated"] == 0
    assert platform.rows("select * from signals order by symbol, date, rule") == before


def test_a_corrected_bar_adds_the_signals_that_it_makes_and_withdraws_those_that_it_ends(platform):
    """A slower run, which has read the bars before, does not bring the withdrawn ones back."""
    window = Window.of_dates(date(2013, 2, 1), date(2015, 1, 31))
    slow = derived.computed("signals", "stock_prices_daily", ["AAPL", "GE"], window)
    known_at = datetime.now(UTC)
    before, other = stored(platform, "AAPL"), stored(platform, "GE")
    platform.sandbox.set_bar("AAPL", date(2014, 6, 10), high=200.0, close=199.0)
    platform.run("stock_prices_daily", "2014-06-01", symbols=["AAPL", "GE"])
    outcome = platform.run("signals", "2015-01-01")
    assert outcome.success, outcome.error
    after = stored(platform, "AAPL")
    assert after == expected(platform, "AAPL", date.min)
    assert {row for row in after - before if row[0] == date(2014, 6, 10)}, "the bar makes signals"
    ended = {(day, rule) for day, rule, _, _ in before} - {(day, rule) for day, rule, _, _ in after}
    assert ended, "and ends some"
    assert outcome.tables["signals"]["rows_withdrawn"] == len(ended)
    assert stored(platform, "GE") == other
    as_known = "select date, rule, direction, price from signals_as_of(:at) where symbol = 'AAPL'"
    assert set(platform.rows(as_known, at=known_at)) == before
    derived.store(slow, window, "slow")
    assert stored(platform, "AAPL") == after


def test_signals_of_a_bar_that_is_gone_go_with_it(platform):
    day = max(row[0] for row in stored(platform, "AAPL"))
    ended = stored(platform, "AAPL", day)
    platform.execute("delete from stock_prices_daily where symbol = 'AAPL' and date >= :day", day=day)
    platform.execute("update dirty_marks set dirty_from = :day, version = version + 1 where symbol = 'AAPL'", day=day)
    outcome = platform.run("signals", "2014-12-01")
    assert outcome.tables["signals"]["rows_withdrawn"] == len(ended) > 0
    assert stored(platform, "AAPL", day) == set()
    assert stored(platform, "AAPL") == expected(platform, "AAPL", date.min)


def test_an_instrument_with_a_wrong_bar_keeps_its_signals_and_is_named(platform):
    before = stored(platform, "AAPL")
    platform.execute("update stock_prices_daily set low = 2 * high where symbol = 'AAPL' and date = '2014-06-10'")
    outcome = platform.run("signals", "2013-02-01", "2015-01-01")
    assert outcome.success, outcome.error
    assert stored(platform, "AAPL") == before
    letters = "select symbol, exception from task_failures where task_name = 'signals' and status = 'open'"
    [(symbol, reason)] = platform.rows(letters)
    assert symbol == "AAPL"
    assert "2014-06-10" in reason


def test_the_hourly_job_computes_indicators_and_then_signals(platform):
    job = platform.definitions.resolve_job_def("calculate_indicators")
    assert {"indicators_daily", "signals"} <= {node.name for node in job.nodes}
    [signals] = [
        asset
        for asset in platform.definitions.assets or ()
        if getattr(asset, "op", None) and asset.op.name == "signals"
    ]
    assert "indicators_daily" in {key.to_user_string() for key in signals.dependency_keys}
