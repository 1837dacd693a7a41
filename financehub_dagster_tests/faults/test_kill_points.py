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
SHORT = (
    "after_fetch after_compute mid_copy while_locking after_update before_commit after_commit before_event after_event"
    " during_success_hook during_checks before_failure_hook during_failure_hook during_replay_claim during_replay_work"
    " before_resolve after_failing_lost_runs during_report"
).split()
"""The points of the short form."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    cases = every_case() if in_full(metafunc.config) else some_cases()
    metafunc.parametrize(("name", "point", "number"), cases, ids=lambda value: getattr(value, "name", value))


def every_case() -> list[tuple[str, Point, signal.Signals]]:
    """Each point by each signal in each work that passes it."""
    return [(name, point, number) for point in POINTS for name, number in product(point.works, SIGNALS)]


def some_cases() -> list[tuple[str, Point, signal.Signals]]:
    """Some points once each, their works and the signals in turn; two kills for each of the other signals."""
    turns = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    points = [point for point in POINTS if point.name in SHORT]
    assert len(points) == len(SHORT)
    return [
        (point.works[place % len(point.works)], point, turns[place % len(turns)]) for place, point in enumerate(points)
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
