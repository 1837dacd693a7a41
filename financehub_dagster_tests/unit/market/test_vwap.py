"""The hourly columns: those of the daily table, and VWAP, which begins anew with each session."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS, INDICATORS, INDICATORS_1H, VWAP
from financehub_dagster.market.indicators.engine import compute, compute_many
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.resampling import IntradayBars, resample
from financehub_dagster.market.intraday.trading_hours import trading_hours
from financehub_dagster_tests.properties.markets import Bars, end_to_end, random_bars


def days(lengths: list[int]) -> np.ndarray:
    """Session dates of so many bars each."""
    return np.repeat(np.datetime64("2024-01-01") + np.arange(len(lengths)), lengths)


def by_hand(bars: Bars, sessions: np.ndarray) -> list[float]:
    found, turnover, traded = [], 0.0, 0.0
    for number, (_, high, low, close, volume) in enumerate(zip(*bars.columns, strict=True)):
        if number and sessions[number] != sessions[number - 1]:
            turnover = traded = 0.0
        turnover, traded = turnover + (high + low + close) / 3 * volume, traded + volume
        found.append(turnover / traded if traded else float("nan"))
    return found


def vwap(bars: Bars, sessions: np.ndarray) -> np.ndarray:
    return compute(*bars.columns, sessions=sessions, columns=[VWAP])["vwap"]


def test_the_hourly_list_is_the_daily_one_and_vwap() -> None:
    assert [column.name for column in INDICATORS_1H] == [*INDICATOR_COLUMNS, "vwap"]
    bars = random_bars(300)
    hourly = compute(*bars.columns, sessions=days([7] * 42 + [6]), columns=INDICATORS_1H)
    for name, values in compute(*bars.columns, columns=INDICATORS).items():
        np.testing.assert_array_equal(hourly[name], values, err_msg=name)


def test_two_sessions_worked_out_by_hand() -> None:
    typical, volume = np.array([10.0, 20.0, 30.0, 40.0]), np.array([1.0, 3.0, 2.0, 2.0])
    found = vwap(Bars(typical, typical, typical, typical, volume), days([2, 2]))
    assert found.tolist() == [10.0, 17.5, 30.0, 35.0]


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 30), max_size=6), min_size=1, max_size=4), st.integers(0, 1000))
def test_many_instruments_give_the_running_sums_of_each_session(lengths: list[list[int]], seed: int) -> None:
    markets = [random_bars(sum(each), seed + number) for number, each in enumerate(lengths)]
    for bars in markets:
        bars.volume[np.random.default_rng(seed).random(len(bars)) < 0.4] = 0
    sessions = [days(each) for each in lengths]
    offsets, columns = end_to_end(markets)
    found = compute_many(offsets, *columns, sessions=np.concatenate(sessions), columns=[VWAP])["vwap"]
    expected = [value for bars, each in zip(markets, sessions, strict=True) for value in by_hand(bars, each)]
    np.testing.assert_array_equal(found, np.array(expected))


def test_nothing_traded_is_no_average() -> None:
    bars = random_bars(4)
    bars.volume[:] = [0, 0, 5, 0]
    assert np.isnan(vwap(bars, days([4]))).tolist() == [True, True, False, False]
    assert np.isnan(vwap(Bars.of([*bars.columns[:4], np.zeros(4)]), days([4]))).all()


def test_without_sessions_there_is_no_vwap() -> None:
    with pytest.raises(ValueError, match=r"^vwap: give the session of each bar"):
        compute(*random_bars(4).columns, columns=[VWAP])
    with pytest.raises(ValueError, match="sessions has shape"):
        compute(*random_bars(4).columns, sessions=days([3]), columns=[VWAP])


@pytest.mark.parametrize(
    ("of", "starts"),
    [
        ("XTKS", ["2024-11-05T00:00", "2024-11-06T00:00"]),  # lunch does not begin a new average
        (Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX"), ["2024-11-05T00:00", "2024-11-06T00:00"]),
        ("XASX", ["2024-11-04T23:00", "2024-11-05T23:00"]),  # a session begins on the UTC day before
    ],
)
def test_hours_of_each_market_are_averaged_by_its_session(of: Instrument | str, starts: list[str]) -> None:
    hours = trading_hours(of)
    stop = np.datetime64("2024-11-07", "s")
    ts = hours.minutes(np.datetime64(starts[0], "s"), stop)
    bars = random_bars(ts.size)
    found = resample(IntradayBars.of(np.zeros(ts.size), ts, *bars.columns), [hours], [60], np.array([stop]))[60]
    values = compute(*found.bars.ohlcv, sessions=found.days, columns=[VWAP])["vwap"]
    typical = (found.bars.high + found.bars.low + found.bars.close) / 3
    fresh = found.bars.ts[np.isclose(values, typical, rtol=1e-12)]
    assert [str(each)[:16] for each in fresh[:2]] == starts
