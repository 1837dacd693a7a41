"""Settled act by act or computed from nothing: the same ledger."""

import random
from datetime import timedelta

import pytest

from financehub_dagster.storage.coverage import gaps
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster_tests.fixtures.fault_form import CASE, in_full
from financehub_dagster_tests.unit.ledger.ledger_world import (
    EVERYONE,
    HISTORY_START,
    INDICATORS,
    World,
    price_table,
    sessions_of_row,
)

ACTS = 150


def act(world: World, rng: random.Random) -> None:
    """Anything that can happen to anyone, over any stretch of time."""
    instrument = rng.choice(EVERYONE)
    start = HISTORY_START + timedelta(days=rng.randrange(160))
    end = start + timedelta(days=rng.randrange(60))
    first, last = start.replace(day=1).isoformat(), end.replace(day=1).isoformat()
    partition = first if first == last else f"{first}...{last}"
    table = rng.choice([price_table(instrument), INDICATORS])
    symbol = rng.choice([instrument.symbol, instrument.symbol, ""])
    sessions = world.sessions(instrument, start, end)
    some = rng.sample(sessions, rng.randint(0, len(sessions)))
    acts = {
        "answer": lambda: world.answer(instrument, start, end, without=some),
        "answer in part": lambda: world.answer(instrument, start, end, rejected=some[:3], without=some[3:5]),
        "compute": lambda: world.compute(instrument, start, end),
        "fail": lambda: world.fail(table, partition, symbol, rng.choice([None, [instrument.symbol]])),
        "resolve": lambda: world.resolve(table, partition, symbol),
        "put off": lambda: world.defer(table, partition, symbol, world.now + timedelta(hours=3)),
        "take up": lambda: world.take_up(table),
        "join": lambda: world.join(instrument),
        "leave": lambda: world.leave(instrument),
        "pass": lambda: world.pass_time(hours=rng.choice([1, 5, 30])),
    }
    acts[rng.choice(list(acts))]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(30) if in_full(metafunc.config) else [3])


def test_after_any_acts_the_ledger_is_the_one_that_the_facts_give(world, record_property, seed):
    rng = random.Random(seed)
    world.join(*EVERYONE)
    world.leave(*EVERYONE[1 + seed % len(EVERYONE) :])
    record_property(CASE, ("sequences of acts on the ledger", 1))
    for number in range(ACTS):
        act(world, rng)
        if number % 25 == 24:
            world.pass_time(hours=0)
            assert world.rebuild() == 0
    with transaction() as connection:
        counts = gaps.sessions_by_state(connection)
        active = {each.symbol for each in list_instruments(connection)}
    read = [sessions_of_row(price_table(each), each) for each in EVERYONE if each.symbol in active]
    read_indicators = [sessions_of_row(INDICATORS, each) for each in EVERYONE if each.symbol in active]
    for name in gaps.STATES:
        bars = sum(counts[table][name] for table in counts if table != INDICATORS)
        assert bars == sum(len(each[name]) for each in read)
        assert counts[INDICATORS][name] == sum(len(each[name]) for each in read_indicators)
