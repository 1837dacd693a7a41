"""A process killed at a named point: nothing is lost, nothing is half done, and what is left to do gets done."""

import signal
from dataclasses import replace
from itertools import product

import pytest

from financehub_dagster_tests.faults import kill_invariants as invariants
from financehub_dagster_tests.faults.kill_points import POINTS, Point
from financehub_dagster_tests.faults.kill_runner import REACHED
from financehub_dagster_tests.fixtures.fault_form import in_full

pytestmark = pytest.mark.timeout(600)

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cases = every_case() if in_full(metafunc.config) else each_point_once()
    metafunc.parametrize(("name", "point", "number"), cases, ids=lambda value: getattr(value, "name", value))


def every_case() -> list[tuple[str, Point, signal.Signals]]:
    """Each point by each signal in each work that passes it."""
    return [(name, point, number) for point in POINTS for name, number in product(point.works, SIGNALS)]


def each_point_once() -> list[tuple[str, Point, signal.Signals]]:
    """The works and the signals in turn, two kills for each of the other signals."""
    turns = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    return [
        (point.works[place % len(point.works)], point, turns[place % len(turns)]) for place, point in enumerate(POINTS)
    ]


def test_a_process_killed_at_a_point_loses_nothing(world, count_cases, name, point, number) -> None:
    work = world.work(name)
    world.vendors(fail=work.vendor_fails)
    with world.scene(work.before) as scene:
        trace = scene.disturb(replace(work.run, point=point, number=number))
        assert REACHED in trace.news, "the product no longer passes this point"
        world.vendors()
        invariants.assert_survived(scene, work, trace)
        count_cases("points × signals × works")
