"""A process killed at any instant of its work: the seed of a case decides which signal, and when."""

import random
import signal
from dataclasses import replace

import pytest

from financehub_dagster_tests.faults.kill import kill_invariants as invariants
from financehub_dagster_tests.faults.kill.kill_points import (
    CRYPTOS,
    HOURLY,
    INDICATORS,
    MINUTES,
    QUOTES,
    REPLAY,
    STOCKS,
)

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(600)]

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CASES = 42
"""Of each work."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", range(CASES))


class Killed:
    """The cases of one work; each class is a scope of its own, which pytest-xdist gives to one process."""

    name: str

    def test_at_any_instant_loses_nothing(self, world, count_cases, seed) -> None:
        chance = random.Random(f"{self.name} {seed}")
        work = world.work(self.name)
        world.vendors()
        with world.scene(work.before) as scene:
            run = replace(work.run, number=chance.choice(SIGNALS))
            trace = scene.disturb(run, kill_after=chance.uniform(0, work.seconds))
            invariants.assert_survived(scene, work, trace)
            count_cases("random instants")


class TestStocksKilled(Killed):
    name = STOCKS


class TestCryptosKilled(Killed):
    name = CRYPTOS


class TestIndicatorsKilled(Killed):
    name = INDICATORS


class TestQuotesKilled(Killed):
    name = QUOTES


class TestMinutesKilled(Killed):
    name = MINUTES


class TestHourlyIndicatorsKilled(Killed):
    name = HOURLY


class TestReplayKilled(Killed):
    name = REPLAY
