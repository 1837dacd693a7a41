"""Four recorded sessions of SPY's minutes, from the vendor's bars to hours, pivots and hourly indicators."""

import numpy as np
import pytest

from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.indicators.columns import INDICATORS_1H
from financehub_dagster.market.indicators.engine import compute
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.resampling import LENGTHS, IntradayBars, resample, resample_sessions
from financehub_dagster.market.intraday.trading_hours import MINUTE, trading_hours
from financehub_dagster.market.levels import levels_of_bars, next_trade_dates, pivot_points
from financehub_dagster.sandbox.market.recordings import recorded_intraday
from financehub_dagster_tests.properties.intraday_reference import derived_by_hand

SPY = Instrument("SPY", "SPDR S&P 500 ETF", AssetType.ETF, "ARCX")
HOURS = [trading_hours(SPY)]


@pytest.fixture(scope="module")
def minutes() -> IntradayBars:
    found = next(each for each in recorded_intraday() if (each.symbol, each.interval) == ("SPY", "1m"))
    ts = found.open_time.astype("datetime64[s]")
    return IntradayBars.of(np.zeros(ts.size), ts, found.open, found.high, found.low, found.close, found.volume)


@pytest.fixture(scope="module")
def complete(minutes: IntradayBars) -> np.ndarray:
    return minutes.ts[-1:] + MINUTE


def test_the_recorded_minutes_are_the_trading_hours_and_one_bar_at_each_closing_instant(minutes: IntradayBars) -> None:
    inside = HOURS[0].is_open(minutes.ts)
    np.testing.assert_array_equal(minutes.ts[inside], HOURS[0].minutes(minutes.ts[0], minutes.ts[-1] + MINUTE))
    assert [str(each) for each in minutes.ts[~inside]] == [f"2020-12-{day}T21:00:00" for day in (15, 16, 17, 18)]


def test_bars_of_every_length_equal_the_slow_reference(minutes: IntradayBars, complete: np.ndarray) -> None:
    first_day = minutes.where(minutes.ts < np.datetime64("2020-12-16"))
    for length, found in resample(first_day, HOURS, LENGTHS, complete).items():
        expected = derived_by_hand(first_day, HOURS[0], length, complete[0])
        assert found.bars.ts.tolist() == [each.opens for each in expected]
        for column, name in enumerate(("open", "high", "low", "close", "volume")):
            assert found.bars.ohlcv[column].tolist() == [getattr(each, name) for each in expected], name


def test_the_first_hour_and_the_last_half_hour_as_read_off_the_recording(
    minutes: IntradayBars, complete: np.ndarray
) -> None:
    hourly = resample(minutes, HOURS, [60], complete)[60]
    assert hourly.bars.ts.size == 4 * 7
    first, last = slice(0, 60), slice(360, 390)
    for bar, rows in ((0, first), (6, last)):
        assert hourly.bars.open[bar] == minutes.open[rows][0]
        assert hourly.bars.high[bar] == max(minutes.high[rows])
        assert hourly.bars.low[bar] == min(minutes.low[rows])
        assert hourly.bars.close[bar] == minutes.close[rows][-1]
        assert hourly.bars.volume[bar] == sum(minutes.volume[rows])
    assert (hourly.bars.open[0], hourly.bars.close[6]) == (367.4, 369.57)


def test_pivots_of_wednesday_come_from_tuesdays_minutes(minutes: IntradayBars, complete: np.ndarray) -> None:
    daily = resample_sessions(minutes, HOURS, complete)
    sessions = next_trade_dates([SPY], daily.days[0].item(), daily.days[-1].item())
    bars = BarArrays(["SPY"], np.array([0, 4]), daily.days, *daily.bars.ohlcv)
    found = levels_of_bars(bars, np.ones(4, bool), sessions)
    high, low, close = (found.values[name] for name in ("high", "low", "close"))
    assert [str(each) for each in found.date] == ["2020-12-16", "2020-12-17", "2020-12-18", "2020-12-21"]
    assert (high[0], low[0], close[0]) == (369.5798, 365.92, 369.57)
    pivots = {name: values[0] for name, values in pivot_points(high, low, close).items()}
    by_hand = {"pp": 368.3566, "r1": 370.7932, "s1": 367.1334, "r2": 372.0164, "s2": 364.6968}
    assert pivots == pytest.approx(by_hand, abs=1e-9)


def test_hourly_indicators_of_the_recording(minutes: IntradayBars, complete: np.ndarray) -> None:
    hourly = resample(minutes, HOURS, [60], complete)[60]
    found = compute(*hourly.bars.ohlcv, sessions=hourly.days, columns=INDICATORS_1H)
    assert list(found) == [column.name for column in INDICATORS_1H]
    for session in np.unique(hourly.days):
        mine = hourly.days == session
        _, high, low, close, volume = (column[mine] for column in hourly.bars.ohlcv)
        typical = (high + low + close) / 3
        assert found["vwap"][mine][-1] == pytest.approx(np.average(typical, weights=volume), rel=1e-12)
        assert found["vwap"][mine][0] == pytest.approx(typical[0], rel=1e-12)
    assert np.isfinite(found["sma_20"][19:]).all()
