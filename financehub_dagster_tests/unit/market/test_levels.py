"""Levels and pivots of a trade date come from the session just before it, by the instrument's own calendar."""

from datetime import UTC, date, datetime

import numpy as np
import pytest
from numpy.typing import ArrayLike

from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.calendar_source import Days
from financehub_dagster.market.derived import DerivedRows
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.levels import levels_of_bars, newest_sessions, next_trade_dates, pivot_points
from financehub_dagster.sandbox.market.recordings import recorded_daily

APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS")
DAX = Instrument("DAX", "DAX", AssetType.INDEX, "XETR", "EUR")
TOYOTA = Instrument("7203", "Toyota", AssetType.STOCK, "XTKS", "JPY")
EURO = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX")
ODD = Instrument("ODD", "Odd", AssetType.STOCK, "XXYZ")


def levels(offsets: ArrayLike, dates: Days, high: ArrayLike, low: ArrayLike, close: ArrayLike, sessions: list[Days]):
    prices = (np.asarray(values, np.float64) for values in (high, high, low, close, close))
    bars = BarArrays([], np.asarray(offsets, np.int64), dates, *prices)
    return levels_of_bars(bars, np.ones(dates.size, bool), sessions)


def of_bars(bars: list[tuple[Instrument, list[str]]]) -> DerivedRows:
    """Levels of bars at these dates; the high of the n-th bar of all is 100 + n, low and close follow it."""
    days = [date.fromisoformat(day) for _, dates in bars for day in dates]
    offsets = np.cumsum([0, *(len(dates) for _, dates in bars)])
    high = 100.0 + np.arange(len(days))
    sessions = next_trade_dates([each for each, _ in bars], min(days), max(days))
    return levels(offsets, np.array(days, "datetime64[D]"), high, high - 10, high - 3, sessions)


def shown(found: DerivedRows) -> list[tuple[int, str, str]]:
    return list(zip(found.instruments.tolist(), map(str, found.date), map(str, found.values["session"]), strict=True))


@pytest.mark.parametrize(
    ("instrument", "session", "trade_date"),
    [
        (APPLE, "2025-01-08", "2025-01-10"),  # a day of mourning between them
        (APPLE, "2024-11-27", "2024-11-29"),  # Thanksgiving
        (APPLE, "2024-11-29", "2024-12-02"),  # a half day, then a weekend
        (APPLE, "2024-03-08", "2024-03-11"),  # clocks change
        (APPLE, "2001-09-10", "2001-09-17"),
        (DAX, "2024-12-23", "2024-12-27"),
        (DAX, "2024-03-28", "2024-04-02"),  # Easter and a clock change
        (TOYOTA, "2024-12-30", "2025-01-06"),
        (TOYOTA, "2019-04-26", "2019-05-07"),  # the longest closure of Tokyo
        (EURO, "2024-11-01", "2024-11-04"),
        (EURO, "2024-12-24", "2024-12-25"),
        (BITCOIN, "2024-11-02", "2024-11-03"),
        (BITCOIN, "2024-12-31", "2025-01-01"),
    ],
)
def test_levels_are_those_of_the_session_just_before(instrument: Instrument, session: str, trade_date: str) -> None:
    found = of_bars([(instrument, [session])])
    assert shown(found) == [(0, trade_date, session)]
    assert [found.values[name][0] for name in ("high", "low", "close")] == [100, 90, 97]


def test_each_instrument_follows_its_own_calendar() -> None:
    found = of_bars(
        [
            (APPLE, ["2024-12-23", "2024-12-24", "2024-12-26"]),
            (ODD, ["2024-12-24"]),
            (DAX, ["2024-12-23", "2024-12-27"]),
            (TOYOTA, []),
            (BITCOIN, ["2024-12-24"]),
        ]
    )
    assert shown(found) == [
        (0, "2024-12-24", "2024-12-23"),
        (0, "2024-12-26", "2024-12-24"),
        (0, "2024-12-27", "2024-12-26"),
        (2, "2024-12-27", "2024-12-23"),
        (2, "2024-12-30", "2024-12-27"),
        (4, "2024-12-25", "2024-12-24"),
    ]
    assert found.values["high"].tolist() == [100, 101, 102, 104, 105, 106]


def test_a_missing_session_leaves_its_trade_date_without_levels() -> None:
    found = of_bars([(APPLE, ["2024-11-18", "2024-11-20"])])
    assert shown(found) == [(0, "2024-11-19", "2024-11-18"), (0, "2024-11-21", "2024-11-20")]


def test_a_bar_on_a_day_without_a_session_gives_no_levels() -> None:
    assert shown(of_bars([(APPLE, ["2024-11-29", "2024-11-30", "2024-12-01"])])) == [(0, "2024-12-02", "2024-11-29")]


def test_a_year_of_recorded_bars_gives_every_session_but_the_first() -> None:
    recorded = recorded_daily("MSFT")
    dates = recorded.date[-260:]
    sessions = next_trade_dates([APPLE], dates[0].item(), dates[-1].item())
    high, low, close = (getattr(recorded, name)[-260:] for name in ("high", "low", "close"))
    found = levels([0, 260], dates, high, low, close, sessions)
    np.testing.assert_array_equal(found.date[:-1], dates[1:])
    np.testing.assert_array_equal(found.values["session"], dates)
    np.testing.assert_array_equal(found.values["high"], high)


def test_calendars_and_offsets_must_fit_the_bars() -> None:
    days = np.array(["2024-11-18"], "datetime64[D]")
    with pytest.raises(ValueError, match="do not fit offsets"):
        levels([0, 2], days, [1.0], [1.0], [1.0], [days])
    with pytest.raises(ValueError, match="do not fit offsets"):
        levels([0, 1], days, [1.0], [1.0], [1.0], [days, days])


def test_pivots_worked_out_by_hand() -> None:
    found = pivot_points([110.0, 1.1050], [100.0, 1.0990], [105.0, 1.1020])
    assert [found[name][0] for name in ("pp", "r1", "s1", "r2", "s2")] == [105, 110, 100, 115, 95]
    expected = [1.1020, 1.1050, 1.0990, 1.1080, 1.0960]
    assert [found[name][1] for name in ("pp", "r1", "s1", "r2", "s2")] == pytest.approx(expected)
    assert list(found) == ["pp", "r1", "s1", "r2", "s2"]


def test_pivots_of_an_uneven_bar_worked_out_by_hand() -> None:
    """The S&P 500 ETF on 2020-12-15: high 369.59, low 365.92, close 369.59."""
    found = pivot_points([369.59], [365.92], [369.59])
    hand = {"pp": 368.3666667, "r1": 370.8133333, "s1": 367.1433333, "r2": 372.0366667, "s2": 364.6966667}
    assert {name: values[0] for name, values in found.items()} == pytest.approx(hand, abs=1e-6)


def test_the_daily_close_knows_what_has_closed_and_what_has_not() -> None:
    """20:59 in Berlin on a Friday: Tokyo and Xetra have closed, New York and currencies have not."""
    everyone = [TOYOTA, DAX, APPLE, EURO, BITCOIN, ODD]
    closed, pending = newest_sessions(everyone, datetime(2024, 11, 15, 19, 59, tzinfo=UTC))
    assert [str(each) for each in closed] == [
        "2024-11-15",
        "2024-11-15",
        "2024-11-14",
        "2024-11-14",
        "2024-11-14",
        "NaT",
    ]
    assert [str(each) for each in pending] == ["NaT", "NaT", "2024-11-15", "2024-11-15", "2024-11-15", "NaT"]
    closed, pending = newest_sessions([APPLE, DAX], datetime(2025, 1, 9, 19, 59, tzinfo=UTC))
    assert [str(each) for each in closed] == ["2025-01-08", "2025-01-09"]
    assert np.isnat(pending).all()
