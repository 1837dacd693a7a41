"""Longer bars from minutes, at every edge: opens, closes, lunch, half days, clock changes, holes, strangers."""

from datetime import date, timedelta

import numpy as np
import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.resampling import (
    LENGTHS,
    DerivedBars,
    IntradayBars,
    bar_opening,
    resample,
    resample_sessions,
)
from financehub_dagster.market.intraday.trading_hours import MINUTE, TradingHours, trading_hours
from financehub_dagster_tests.properties.intraday_reference import derived_by_hand, expected_bars

EURO = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX")
MARKETS: dict[str, Instrument | str] = {
    "New York": "XNYS",
    "Xetra": "XETR",
    "London": "XLON",
    "Tokyo": "XTKS",
    "currencies": EURO,
    "cryptos": BITCOIN,
}
DAYS = (
    "2024-03-08 2024-03-11 2024-03-28 2024-04-02 2024-10-25 2024-10-28 2024-11-01 2024-11-04 2024-11-05 2024-11-29 "
    "2024-12-24 2025-01-09"
).split()
"""Around four clock changes, Tokyo's longer hours, half days in New York and London, New York's day of mourning."""


def at(text: str) -> np.datetime64:
    return np.datetime64(text, "s")


def invented(ts: np.ndarray, rows: np.ndarray | int = 0, seed: int = 1) -> IntradayBars:
    """Bars at these minutes whose prices and volumes all differ."""
    random = np.random.default_rng(seed)
    opened, closed = random.uniform(90, 110, (2, ts.size))
    high, low = np.maximum(opened, closed) + random.uniform(0, 1, ts.size), np.minimum(opened, closed) - 0.5
    volume = random.integers(0, 10_000, ts.size)
    return IntradayBars.of(np.broadcast_to(rows, ts.shape), ts, opened, high, low, closed, volume)


def one(of: Instrument | str, start: str, stop: str, length: int, complete_to: str | None = None) -> DerivedBars:
    hours = trading_hours(of)
    minutes = invented(hours.minutes(at(start), at(stop)))
    complete = np.array([at(complete_to or stop)])
    return resample(minutes, [hours], [length], complete)[length]


def labels(found: DerivedBars) -> list[str]:
    return [str(each)[11:16] for each in found.bars.ts]


def test_hours_in_new_york_begin_at_half_past_and_the_last_lasts_half_an_hour() -> None:
    found = one("XNYS", "2024-11-04", "2024-11-05", 60)
    assert labels(found) == ["14:30", "15:30", "16:30", "17:30", "18:30", "19:30", "20:30"]
    assert found.minutes.tolist() == [60] * 6 + [30]
    assert found.ends[-1] == at("2024-11-04T21:00")


def test_a_half_day_ends_with_its_early_close() -> None:
    found = one("XNYS", "2024-11-29", "2024-11-30", 60)
    assert labels(found) == ["14:30", "15:30", "16:30", "17:30"]
    assert found.minutes.tolist() == [60, 60, 60, 30]


def test_tokyo_begins_anew_after_lunch_and_closes_later_since_november_2024() -> None:
    before, after = one("XTKS", "2024-11-01", "2024-11-02", 60), one("XTKS", "2024-11-05", "2024-11-06", 60)
    assert labels(before) == labels(after) == ["00:00", "01:00", "02:00", "03:30", "04:30", "05:30"]
    assert before.minutes.tolist() == [60, 60, 30, 60, 60, 30]
    assert after.minutes.tolist() == [60, 60, 30, 60, 60, 60]


def test_markets_around_the_clock_have_full_hours() -> None:
    assert labels(one(BITCOIN, "2024-03-31", "2024-04-01", 60)) == [f"{hour:02}:00" for hour in range(24)]
    friday, sunday = one(EURO, "2024-11-01", "2024-11-02", 60), one(EURO, "2024-11-03", "2024-11-04", 60)
    assert labels(friday) == [f"{hour:02}:00" for hour in range(21)]
    assert labels(sunday) == ["22:00", "23:00"]
    assert {str(each) for each in sunday.days} == {"2024-11-04"}


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_bar_equals_the_slow_reference(market: str, length: int) -> None:
    """Random holes, and strangers before the open, over lunch and after the close."""
    hours = trading_hours(MARKETS[market])
    random = np.random.default_rng(length)
    for day in DAYS:
        everything: np.ndarray = np.arange(at(day) - 120 * MINUTE, at(day) + 1560 * MINUTE, MINUTE)
        minutes = invented(everything[random.random(everything.size) > random.random()], seed=length)
        complete = np.array([random.choice(everything)])
        found = resample(minutes, [hours], [length], complete)[length]
        expected = derived_by_hand(minutes, hours, length, complete[0])
        assert found.bars.ts.tolist() == [each.opens for each in expected], day
        assert found.ends.tolist() == [each.ends for each in expected]
        assert found.final.tolist() == [each.final for each in expected]
        assert found.minutes.tolist() == [each.minutes for each in expected]
        for column, name in enumerate(("open", "high", "low", "close", "volume")):
            assert found.bars.ohlcv[column].tolist() == [getattr(each, name) for each in expected], name


@pytest.mark.parametrize("market", MARKETS)
def test_complete_minutes_make_exactly_the_expected_bars(market: str) -> None:
    hours = trading_hours(MARKETS[market])
    start, stop = at("2024-10-25"), at("2024-11-30")
    minutes = invented(hours.minutes(start, stop))
    for length, found in resample(minutes, [hours], LENGTHS, np.array([stop])).items():
        opens, ends = expected_bars(hours, start, stop, length)
        np.testing.assert_array_equal(found.bars.ts, opens)
        np.testing.assert_array_equal(found.ends, ends)
        np.testing.assert_array_equal(found.minutes, (ends - opens) // MINUTE)
        assert found.final.all()
        np.testing.assert_array_equal(bar_opening(hours, minutes.ts, length), np.repeat(opens, found.minutes))


def test_a_bar_is_final_only_when_its_minutes_are_complete_to_its_end() -> None:
    found = one("XNYS", "2024-11-04", "2024-11-04T15:12", 15, complete_to="2024-11-04T14:59")
    assert labels(found) == ["14:30", "14:45", "15:00"]
    assert found.final.tolist() == [True, False, False]
    assert one("XNYS", "2024-11-04", "2024-11-04T15:12", 15, "2024-11-04T15:00").final.tolist() == [True, True, False]
    assert one("XNYS", "2024-11-04", "2024-11-04T15:12", 15, "NaT").final.tolist() == [False] * 3
    assert found.bars.where(found.final).ts.tolist() == found.bars.ts[:1].tolist()
    # The short last bar of a session is over at the close.
    assert one("XNYS", "2024-11-04", "2024-11-05", 60, "2024-11-04T21:00").final.all()


def test_a_bar_without_trades_in_all_minutes_is_final_and_one_without_any_is_missing() -> None:
    hours = trading_hours("XNYS")
    minutes = invented(np.array(["2024-11-04T14:31", "2024-11-04T14:47"], "datetime64[s]"))
    found = resample(minutes, [hours], [5], np.array([at("2024-11-04T16:00")]))[5]
    assert labels(found) == ["14:30", "14:45"]
    assert found.final.all()
    assert found.minutes.tolist() == [1, 1]


def test_many_instruments_of_many_markets_give_what_each_gives_alone() -> None:
    everyone = [trading_hours(of) for of in [*MARKETS.values(), "XNYS", "XTKS"]]
    start, stop = at("2024-11-04"), at("2024-11-06")
    alone = [invented(hours.minutes(start, stop), seed=seed) for seed, hours in enumerate(everyone)]
    alone[1] = alone[1].where(np.zeros(alone[1].ts.size, bool))
    together = IntradayBars.of(
        np.repeat(np.arange(len(alone)), [each.ts.size for each in alone]),
        np.concatenate([each.ts for each in alone]),
        *(np.concatenate(columns) for columns in zip(*(each.ohlcv for each in alone), strict=True)),
    )
    complete = np.array([stop - number * 97 * MINUTE for number in range(len(alone))])
    sessions = resample_sessions(together, everyone, complete)
    for length, found in [*resample(together, everyone, LENGTHS, complete).items(), (0, sessions)]:
        for number, each in enumerate(alone):
            own = (
                resample(each, [everyone[number]], [length], complete[number : number + 1])[length]
                if length
                else resample_sessions(each, [everyone[number]], complete[number : number + 1])
            )
            mine = found.bars.rows == number
            np.testing.assert_array_equal(found.bars.ts[mine], own.bars.ts)
            np.testing.assert_array_equal(found.final[mine], own.final)
            np.testing.assert_array_equal(found.days[mine], own.days)
            for here, there in zip(found.bars.ohlcv, own.bars.ohlcv, strict=True):
                np.testing.assert_array_equal(here[mine], there)


def test_instruments_that_have_the_same_minute_only_are_not_merged() -> None:
    ts = np.array(["2024-11-04T14:32"] * 3, "datetime64[s]")
    hours = [trading_hours("XNYS")] * 4
    minutes = invented(ts, np.array([0, 1, 3]))
    found = resample(minutes, hours, [5], np.array([at("2024-11-04T15:00")] * 3 + [at("2024-11-04T14:33")]))[5]
    assert found.bars.rows.tolist() == [0, 1, 3]
    assert found.final.tolist() == [True, True, False]
    np.testing.assert_array_equal(found.bars.close, minutes.close)


def test_a_session_is_one_bar_over_lunch_and_over_midnight() -> None:
    def sessions(of: Instrument | str, start: str, stop: str) -> DerivedBars:
        hours = trading_hours(of)
        return resample_sessions(invented(hours.minutes(at(start), at(stop))), [hours], np.array([at(stop)]))

    tokyo = sessions("XTKS", "2024-11-05", "2024-11-06")
    assert tokyo.days.tolist() == [date(2024, 11, 5)]
    assert (tokyo.bars.ts[0], tokyo.ends[0]) == (at("2024-11-05T00:00"), at("2024-11-05T06:30"))
    assert tokyo.minutes.tolist() == [330]
    week = sessions(EURO, "2024-11-03", "2024-11-08T21:59")
    assert week.days.tolist() == [date(2024, 11, 4) + timedelta(days=number) for number in range(5)]
    assert week.minutes.tolist() == [1440] * 4 + [1439]
    assert week.final.tolist() == [True] * 4 + [False]


def test_nothing_makes_nothing() -> None:
    hours = trading_hours("XNYS")
    for ts in (np.array([], "datetime64[s]"), np.array(["2024-11-02T15:00"], "datetime64[s]")):
        found = resample(invented(ts), [hours], LENGTHS, np.array([at("2024-11-04")]))
        assert [each.bars.ts.size for each in found.values()] == [0, 0, 0]
        assert resample_sessions(invented(ts), [hours], np.array([at("2024-11-04")])).final.size == 0


def test_bars_out_of_order_are_refused() -> None:
    ts = np.array(["2024-11-04T14:31", "2024-11-04T14:30"], "datetime64[s]")
    with pytest.raises(ValueError, match=r"^bar 1 \(2024-11-04T14:30:00\) does not follow the one before"):
        invented(ts)
    with pytest.raises(ValueError, match="does not follow"):
        invented(ts[[0, 0]])
    with pytest.raises(ValueError, match="does not follow"):
        invented(ts[::-1], np.array([1, 0]))
    with pytest.raises(ValueError, match="of one length"):
        IntradayBars.of([0], ts, *[[1.0, 2.0]] * 5)
    hours: list[TradingHours] = [trading_hours("XNYS")]
    with pytest.raises(ValueError, match=r"^a bar of 0 minutes: give at least 1"):
        resample(invented(ts[::-1]), hours, [0], np.array([at("2024-11-04")]))
