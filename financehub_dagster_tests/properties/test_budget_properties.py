"""Whatever instruments, credits, failures and other users there are: never too much, never nobody, always the close."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.market.importance import importance, recent_volatility
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.budget_planner import CallCost, Decision
from financehub_dagster.market.intraday.trading_hours import MINUTE
from financehub_dagster_tests.properties.budget_world import World, at

MARKETS = [
    ("XNYS", AssetType.STOCK),
    ("XETR", AssetType.STOCK),
    ("XTKS", AssetType.STOCK),
    ("XASX", AssetType.STOCK),
    ("XXXX", AssetType.FX),
    ("XXXX", AssetType.CRYPTO),
]
MIDNIGHTS = [f"{day}T00:00" for day in ("2024-03-10", "2024-10-27", "2024-11-04", "2024-11-28", "2025-01-08")]
COSTS = [CallCost(1, 0, 8), CallCost(1, 0, 1), CallCost(0, 1, 5), CallCost(1, 1, 3), CallCost(2, 0, 4, 500)]

quickly = settings(max_examples=10)


@dataclass
class Scene:
    """A world, the minutes between its ticks, and how many credits other users of the key take at a tick."""

    world: World
    every: int
    others: int


@st.composite
def scenes(draw: st.DrawFn, *, alone: bool) -> Scene:
    markets = draw(st.lists(st.sampled_from(MARKETS), min_size=1, max_size=8))
    instruments = [Instrument(f"S{number}", "Any", kind, mic) for number, (mic, kind) in enumerate(markets)]
    weight = np.array(draw(st.lists(st.floats(1, 9), min_size=len(markets), max_size=len(markets))))
    cost = draw(st.sampled_from(COSTS[: -1 if alone else None]))
    world = World(instruments, weight, at(draw(st.sampled_from(MIDNIGHTS))), cost=cost)
    enough = 2 * len(markets) * (cost.per_symbol + cost.per_call)
    world.credits_a_day = draw(st.integers(enough if alone else 0, 300))
    world.credits_a_minute = draw(st.integers(cost.of(1), 20))
    if alone:
        return Scene(world, draw(st.sampled_from([10, 30])), 0)
    seed, rate = draw(st.integers(0, 1000)), draw(st.sampled_from([0.0, 0.3, 1.0]))
    world.fails = lambda row, now: bool(np.random.default_rng([seed, row, int(now.astype(int))]).random() < rate)
    return Scene(world, draw(st.sampled_from([10, 30])), draw(st.integers(0, 2)))


@quickly
@given(scenes(alone=False))
def test_no_limit_is_ever_exceeded_and_nothing_is_asked_in_vain(scene: Scene) -> None:
    world = scene.world
    for _ in range(1440 // scene.every):
        before, known = world.budget(), world.known()
        found = world.tick()
        assert before.today is not None
        assert before.minute is not None
        assert found.cost == world.cost.of(len(found.asked)) <= min(max(before.today, 0), before.minute)
        assert found.left == before.today - found.cost
        assert len(set(found.asked)) == len(found.asked)
        assert all(0 < len(call) <= world.cost.symbols for call in found.calls)
        due = dict(zip(known.symbols, known.due, strict=True))
        assert all(due[symbol] > 0 for symbol in found.asked)
        asked = [
            symbol
            for symbol, each in zip(found.symbols, found.decisions, strict=True)
            if each in ("asked", Decision.LAST_PULL)
        ]
        assert sorted(asked) == sorted(found.asked)
        world.used[str(world.now)[:10]] += scene.others
        world.now += scene.every * MINUTE


@quickly
@given(scenes(alone=True))
def test_the_last_pull_after_every_close_is_affordable_and_completes_the_day(scene: Scene) -> None:
    """As long as a day's credits pay for the closes at all, and nobody else takes them."""
    world = scene.world
    for now, found in world.until(world.now + 2 * 1440 * MINUTE, scene.every):
        assert found.unpaid == ()
        assert found.left is not None
        assert found.left >= found.kept
        for row, hours in enumerate(world.hours):
            # Eight last pulls of at most two credits and a call fit into so many ticks, whatever a minute's limit.
            closed = hours.last_close(now - (1 + 8 * scene.every) * MINUTE)
            assert np.isnat(closed) or world.complete_to[row] >= closed


@quickly
@given(scenes(alone=False), st.integers(1, 3))
def test_nothing_starves_even_if_the_credits_never_suffice(scene: Scene, pulls: int) -> None:
    world = scene.world
    world.fails, world.credits_a_minute = (lambda _row, _now: False), 20
    world.credits_a_day = pulls * (world.cost.per_symbol + world.cost.per_call)
    start = world.now
    list(world.until(start + 40 * 1440 * MINUTE, 240))
    assert not np.isnat(world.asked_at).any()
    # The weights differ by at most 9: what waits three times as long as the others comes first.
    patience = (4 * len(world.instruments) // pulls + 6) * 1440 * MINUTE
    assert (world.now - world.asked_at <= patience).all()


@quickly
@given(scenes(alone=True))
def test_without_limits_every_minute_is_asked_for_at_the_next_tick(scene: Scene) -> None:
    world = scene.world
    world.credits_a_day = world.credits_a_minute = None
    for _, found in world.until(world.now + 1440 * MINUTE, 17):
        assert found.stale[1] == 0


numbers = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.just(0.0))


@given(st.integers(0, 12).flatmap(lambda n: st.tuples(*[st.lists(numbers, min_size=n, max_size=n)] * 4)))
def test_weights_lie_between_one_and_nine_whatever_is_known(given_values: tuple[list[float], ...]) -> None:
    with np.errstate(over="ignore"):
        weight = importance(*given_values)
    assert ((weight >= 1) & (weight <= 9)).all()


def test_what_is_held_weighs_most() -> None:
    nan = float("nan")
    weight = importance([1000.0, 10.0, -1000.0, 0.0, nan], [nan, nan, nan, 5e12, 1e9], [0.2, 0.2, 0.2, 0.2, nan])
    assert weight.tolist() == pytest.approx([5.75, 3.77, 5.75, 3.25, 2.5])
    assert importance([0.0] * 3, [nan] * 3, [0.1, 0.2, 0.4]).tolist() == pytest.approx([1.5, 1.75, 2])
    with pytest.raises(ValueError, match="give arrays of one length"):
        importance([1.0], [1.0, 2.0], [1.0])


def test_recent_volatility_is_the_deviation_of_the_last_twenty_returns() -> None:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.02, 60)))
    offsets = [0, 40, 40, 42, 60]
    found = recent_volatility(offsets, close)
    assert found[0] == pytest.approx(np.std(np.diff(np.log(close[19:40])), ddof=1))
    assert found[3] == pytest.approx(np.std(np.diff(np.log(close[42:])), ddof=1))
    assert np.isnan(found[1:3]).all()
    assert recent_volatility([0], []).size == 0
