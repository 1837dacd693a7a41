"""A day's credits last for the day: TradeMatrix's five symbols on a free plan, and each rule on its own."""

import json

import numpy as np
import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.budget_planner import (
    NO_LIMIT,
    Budget,
    CallCost,
    Decision,
    candidates,
    pace,
    plan,
)
from financehub_dagster.market.intraday.resampling import LENGTHS, IntradayBars, resample
from financehub_dagster.market.intraday.trading_hours import MINUTE
from financehub_dagster_tests.properties.budget_world import NOT, TRADE_MATRIX, World, at, decision_of
from financehub_dagster_tests.properties.intraday_reference import expected_bars

APPLE = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS")
TOYOTA = Instrument("7203", "Toyota", AssetType.STOCK, "XTKS", "JPY")
BITCOIN = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX")


def stocks(count: int, mic: str = "XNYS") -> list[Instrument]:
    return [Instrument(f"{mic}{number}", "Stock", AssetType.STOCK, mic) for number in range(count)]


@pytest.mark.parametrize(
    ("day", "every"),
    [
        ("2024-03-11", 3),  # after America changed its clocks
        ("2024-04-02", 3),  # after Europe did
        ("2024-10-27", 3),  # Europe's clocks change, and currencies begin in the evening
        ("2024-11-04", 1),  # the longest day: everything trades, New York an hour later
        ("2024-11-29", 2),  # half day in New York
        ("2025-01-09", 2),  # New York is closed
    ],
)
def test_trade_matrix_stays_within_the_free_plan_with_every_minute_of_the_day(day: str, every: int) -> None:
    world = World(TRADE_MATRIX, np.ones(5), at(day) + 20 * np.timedelta64(1, "s"))
    tomorrow = at(day) + 1440 * MINUTE
    stale = []
    for now, found in world.until(tomorrow, every):
        assert found.cost <= 8
        assert found.kept <= 800 - world.used[day]
        stale.append(found.stale[0])
        for symbol in found.asked:
            hours = world.hours[list(found.symbols).index(symbol)]
            assert hours.is_open(now) or decision_of(found, symbol) is Decision.LAST_PULL
    assert world.used[day] <= 800
    assert float(np.mean(stale)) <= 5 * 2.5  # each is two and a half minutes behind on average
    list(world.until(tomorrow + 10 * MINUTE))
    for row, hours in enumerate(world.hours):
        minutes, everything = world.minutes(row), hours.minutes(at(day), tomorrow)
        np.testing.assert_array_equal(minutes[minutes < tomorrow], everything)
        bars = IntradayBars.of(np.zeros(everything.size), everything, *np.ones((5, everything.size)))
        for length, derived in resample(bars, [hours], LENGTHS, world.complete_to[row : row + 1]).items():
            np.testing.assert_array_equal(
                derived.bars.where(derived.final).ts, expected_bars(hours, at(day), tomorrow, length)[0]
            )


def test_the_credits_of_a_day_are_used() -> None:
    world = World(TRADE_MATRIX, np.ones(5), at("2024-11-04T20:00:20"))
    world.used["2024-11-04"] = 680
    list(world.until(at("2024-11-05")))
    assert 795 <= world.used["2024-11-04"] <= 800


def test_without_a_limit_everything_due_is_asked_at_each_tick() -> None:
    world = World(TRADE_MATRIX, np.ones(5), at("2024-11-04T14:29:30"), None, None, CallCost(0, 0, 2))
    assert world.tick().asked == ()
    world.now += MINUTE
    assert set(world.tick().asked) == {"DAX", "EURUSD", "GBPUSD"}
    world.now += MINUTE
    found = world.tick()
    assert set(found.asked) == {each.symbol for each in TRADE_MATRIX}
    assert [len(call) for call in found.calls] == [2, 2, 1]
    assert (found.cost, found.left, found.kept) == (0, None, 0)


def test_after_the_close_one_pull_completes_the_day_and_nothing_is_asked_until_the_next_open() -> None:
    world = World([APPLE], np.ones(1), at("2024-11-29T17:30:30"), None, None, CallCost(0))
    asked = [str(now)[5:16] for now, found in world.until(at("2024-11-29T20:00")) if found.asked]
    asked += [str(now)[5:16] for now, found in world.until(at("2024-12-02T14:00"), 30) if found.asked]
    world.now = at("2024-12-02T14:00:30")
    asked += [str(now)[5:16] for now, found in world.until(at("2024-12-02T14:33")) if found.asked]
    assert asked[-4:] == ["11-29T17:59", "11-29T18:00", "12-02T14:31", "12-02T14:32"]


def test_a_last_pull_waits_for_the_vendors_last_minute_where_credits_are_limited() -> None:
    world = World([APPLE], np.ones(1), at("2024-11-04T20:50:30"), credits_a_day=1)
    seen = {str(now)[11:16]: found for now, found in world.until(at("2024-11-04T21:10"))}
    assert [time for time, found in seen.items() if found.asked] == ["21:01"]
    assert seen["20:55"].decisions == (Decision.PACED,)
    assert seen["20:55"].kept == 1
    assert seen["21:00"].decisions == (Decision.SETTLING,)
    assert seen["21:01"].decisions == (Decision.LAST_PULL,)
    assert seen["21:02"].decisions == (Decision.NOTHING_DUE,)


def test_an_incomplete_last_pull_is_repeated_ever_more_rarely_and_only_with_spare_credits() -> None:
    world = World([APPLE], np.ones(1), at("2024-11-04T20:50:00"), None, None, CallCost(0), fails=lambda _, __: True)
    asked = [str(now)[11:16] for now, found in world.until(at("2024-11-04T23:59")) if found.asked]
    assert [time for time in asked if time >= "21"] == [
        "21:00",
        "21:01",
        "21:02",
        "21:04",
        "21:08",
        "21:16",
        "21:32",
        "22:04",
        "23:08",
    ]
    poor = World([APPLE], np.ones(1), at("2024-11-04T20:50:00"), credits_a_day=2, fails=lambda _, __: True)
    assert sum(len(found.asked) for _, found in poor.until(at("2024-11-04T23:59"))) == 2


def test_pulls_are_spaced_by_the_square_root_of_the_weight() -> None:
    world = World(stocks(4), np.array([1.0, 4.0, 4.0, 9.0]), at("2024-11-04T14:30"))
    every = pace(world.known(), world.cost, 390 * 8 / 12)
    np.testing.assert_allclose(every, 12 / np.array([1, 2, 2, 3]))
    assert (390 / every).sum() == pytest.approx(390 * 8 / 12)


def test_nothing_is_pulled_more_often_than_once_a_minute_and_the_others_share_the_rest() -> None:
    world = World(stocks(3), np.array([1.0, 1.0, 10_000.0]), at("2024-11-04T14:30"))
    every = pace(world.known(), world.cost, 390 * 1.5)
    np.testing.assert_allclose(every, [4, 4, 1])
    assert pace(world.known(), world.cost, 390 * 3).tolist() == [1, 1, 1]
    assert np.isinf(pace(world.known(), world.cost, 0)).all()


def test_the_most_urgent_are_asked_first_within_a_minutes_credits() -> None:
    world = World(stocks(20), np.arange(1.0, 21.0), at("2024-11-04T14:31:30"), credits_a_day=100_000)
    world.complete_to[:] = at("2024-11-04T14:30")
    found = world.tick()
    assert found.asked == tuple(f"XNYS{number}" for number in range(19, 11, -1))
    assert found.cost == 8
    assert decision_of(found, "XNYS3") is Decision.MINUTE_LIMIT


def test_many_last_pulls_spread_over_ticks_and_all_happen() -> None:
    world = World(stocks(100), np.ones(100), at("2024-11-04T20:30:30"), credits_a_day=100)
    when = {symbol: now for now, found in world.until(at("2024-11-04T21:20")) for symbol in found.asked}
    assert len(when) == 100
    assert (min(when.values()), max(when.values())) == (at("2024-11-04T21:01:30"), at("2024-11-04T21:13:30"))
    assert (world.complete_to >= at("2024-11-04T21:00")).all()


def test_if_not_all_closes_can_be_paid_the_most_important_are_and_the_others_are_named() -> None:
    world = World(stocks(5), np.array([1.0, 5.0, 2.0, 4.0, 3.0]), at("2024-11-04T20:00"), credits_a_day=3)
    world.complete_to[:] = at("2024-11-04T14:30")
    found = world.tick()
    assert found.asked == ()
    assert found.unpaid == ("XNYS0", "XNYS2")
    assert found.summary()["closes_without_credits"] == "XNYS0, XNYS2"
    asked = [symbol for _, each in world.until(at("2024-11-05")) for symbol in each.asked]
    assert asked == ["XNYS1", "XNYS3", "XNYS4"]
    later = {symbol for _, each in world.until(at("2024-11-08"), 10) for symbol in each.asked}
    assert {"XNYS0", "XNYS2"} <= later


def test_calls_that_cost_the_same_whoever_is_in_them_are_filled() -> None:
    cost = CallCost(per_symbol=0, per_call=1, symbols=10)
    world = World(stocks(25), np.ones(25), at("2024-11-04T15:00"), 200, 2, cost)
    world.complete_to[:] = at("2024-11-04T14:30")
    found = world.tick()
    assert [len(call) for call in found.calls] == [10, 10]
    assert found.cost == 2
    assert found.kept == 3


def test_a_plan_can_be_shown() -> None:
    world = World(TRADE_MATRIX, np.array([1.0, 2, 3, 4, 5]), at("2024-11-04T20:00"))
    world.complete_to[:] = at("2024-11-04T19:50")
    found = world.tick()
    summary = found.summary()
    assert summary["symbols_asked"] == "GBPUSD, EURUSD, DJI, NDX"
    assert summary["credits_left_today"] == 796
    assert summary["credits_kept_for_closes"] == 4
    assert summary["weighted_minutes_due_before"] == 140
    assert summary["weighted_minutes_due_after"] == 0
    assert summary["asked"] == 4
    assert decision_of(found, "DAX") is Decision.NOTHING_DUE
    json.dumps(summary, allow_nan=False)


def test_nothing_to_plan_is_an_empty_plan() -> None:
    nothing = np.array([], "datetime64[s]")
    now = at("2024-11-04T15:00")
    for budget in (NO_LIMIT, Budget(800, 8, at("2024-11-05"))):
        known = candidates([], np.array([]), nothing, nothing, now, budget.resets_at)
        found = plan(known, budget, CallCost(), now)
        assert (found.asked, found.cost, found.decisions) == ((), 0, ())


def test_an_unknown_exchange_is_never_asked_and_stops_no_other() -> None:
    odd = Instrument("ODD", "Odd", AssetType.STOCK, "XXYZ")
    world = World([odd, APPLE], np.ones(2), at("2024-11-04T15:00"))
    world.complete_to[:] = at("2024-11-04T14:00")
    assert world.tick().asked == ("AAPL",)


def test_lunch_in_tokyo_is_no_close() -> None:
    world = World([TOYOTA], np.ones(1), at("2024-11-05T02:28:30"), credits_a_day=800)
    asked = [str(now)[11:16] for now, found in world.until(at("2024-11-05T03:33")) if found.asked]
    assert asked == ["02:29", "02:30", "03:31", "03:32"]


def test_bitcoins_day_is_completed_from_the_next_days_credits() -> None:
    world = World([BITCOIN], np.ones(1), at("2024-11-04T23:50:00"), credits_a_day=3)
    asked = [str(now)[8:16] for now, found in world.until(at("2024-11-05T00:05")) if found.asked]
    assert asked[:3] == ["04T23:53", "04T23:56", "04T23:58"]
    assert asked[3] == "05T00:01"
    assert NOT not in world.complete_to


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_would_starve_its_instrument_is_refused(weight: float) -> None:
    world = World([APPLE, TOYOTA], np.array([1.0, weight]), at("2024-11-04T15:00"))
    with pytest.raises(ValueError, match=r"^7203: its weight is"):
        world.tick()


@pytest.mark.parametrize("wrong", [(-1, 0, 1, 1), (1, -1, 1, 1), (1, 0, 0, 1), (1, 0, 1, 0)])
def test_costs_that_make_no_sense_are_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="credits are not negative"):
        CallCost(*wrong)


def test_a_machine_that_slept_for_a_night_catches_up_with_one_pull_each() -> None:
    world = World(TRADE_MATRIX, np.ones(5), at("2024-11-04T14:00:00"))
    list(world.until(at("2024-11-04T14:10")))
    world.now = at("2024-11-05T09:30:10")
    asked = [symbol for _, found in world.until(at("2024-11-05T09:32")) for symbol in found.asked]
    assert sorted(asked) == sorted(each.symbol for each in TRADE_MATRIX)
    assert (world.complete_to == at("2024-11-05T09:30")).all()
