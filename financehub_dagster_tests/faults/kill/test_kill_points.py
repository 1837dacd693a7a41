"""A process killed at a named point: nothing is lost, nothing is half done, and what is left to do gets done."""

import signal
from contextlib import nullcontext
from dataclasses import replace
from itertools import product

import pytest

from financehub_dagster_tests.faults.kill import kill_invariants as invariants
from financehub_dagster_tests.faults.kill.kill_points import (
    CRYPTOS,
    HOURLY,
    INDICATORS,
    MINUTES,
    POINTS,
    QUOTES,
    RECOVERY,
    REFUSED,
    REPLAY,
    STOCKS,
    Point,
)
from financehub_dagster_tests.faults.kill.kill_runner import REACHED
from financehub_dagster_tests.fixtures.fault_form import in_full

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SHORT = {
    "after_fetch": (STOCKS, signal.SIGKILL),
    "mid_copy": (CRYPTOS, signal.SIGKILL),
    "before_commit": (QUOTES, signal.SIGTERM),
    "after_second_commit": (MINUTES, signal.SIGTERM),
    "after_insert": (HOURLY, signal.SIGKILL),
    "before_event": (CRYPTOS, signal.SIGINT),
    "during_success_hook": (INDICATORS, signal.SIGKILL),
    "during_failure_hook": (REFUSED, signal.SIGKILL),
    "during_replay_work": (REPLAY, signal.SIGTERM),
    "after_failing_lost_runs": (RECOVERY, signal.SIGKILL),
}
"""The points of the short form: every work is killed once or twice, at another point by another signal."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cases = every_case() if in_full(metafunc.config) else some_cases()
    metafunc.parametrize(("name", "point", "number"), cases, ids=lambda value: getattr(value, "name", value))


def every_case() -> list[tuple[str, Point, signal.Signals]]:
    """Each point by each signal in each work that passes it."""
    return [(name, point, number) for point in POINTS for name, number in product(point.works, SIGNALS)]


def some_cases() -> list[tuple[str, Point, signal.Signals]]:
    """Some points once each."""
    points = {point.name: point for point in POINTS}
    return [(work, points[name], number) for name, (work, number) in SHORT.items()]


def test_a_process_killed_at_a_point_loses_nothing(world, count_cases, name, point, number) -> None:
    work = world.work(name)
    world.vendors(fail=work.vendor_fails)
    with world.scene(work.before) as scene:
        with scene.refusing(STOCKS) if work.table_refuses else nullcontext():
            trace = scene.disturb(replace(work.run, point=point, number=number))
        assert REACHED in trace.news, "the product no longer passes this point"
        world.vendors()
        invariants.assert_survived(scene, work, trace)
        count_cases("points × signals × works")
