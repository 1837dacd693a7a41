"""A database that goes away, is locked or is full while a run writes: one line says so, and nothing is half done."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from financehub_dagster.storage.database import embedded
from financehub_dagster_tests.faults.kill import kill_invariants as invariants
from financehub_dagster_tests.faults.kill.kill_points import POINTS, STOCKS, Point
from financehub_dagster_tests.faults.kill.kill_runner import DONE, FAILED, REACHED
from financehub_dagster_tests.faults.kill.kill_scene import Scene, Trace
from financehub_dagster_tests.faults.kill.kill_world import World
from financehub_dagster_tests.fixtures.database import new_server, tcp_server
from financehub_dagster_tests.fixtures.fault_form import in_full
from financehub_dagster_tests.fixtures.relay import relay

pytestmark = pytest.mark.timeout(600)

AT_ONCE = 8
BOUND = 100.0
"""Seconds: a connection without an answer is given up after thirty, and so are a few attempts to connect again."""
LOSING = ("before_lock", "after_insert", "before_commit", "after_commit", "during_checks")
LOSING_IN_SHORT = ("after_fetch", "mid_copy")


def points(*names: str) -> list[Point]:
    by_name = {point.name: point for point in POINTS}
    return [by_name[name] for name in names]


def failure(trace: Trace) -> str:
    """What the run's failed step said."""
    [told] = [news for news in trace.news if news.startswith(FAILED)]
    return told.removeprefix(FAILED)


def assert_one_line_of_ours(message: str, remedy: str) -> None:
    kind, _, text = message.partition(": ")
    assert kind.startswith("financehub_dagster.storage.database.errors.")
    assert remedy in text
    assert len(text.splitlines()) == 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "losing" in metafunc.fixturenames:
        names = LOSING_IN_SHORT + (LOSING if in_full(metafunc.config) else ())
        metafunc.parametrize("losing", points(*names), ids=lambda point: point.name)


def test_connections_that_are_dropped_cost_at_most_the_running_transaction(world, count_cases, losing):
    work = world.work(STOCKS)
    world.vendors()
    with world.scene(work.before) as scene:
        trace = scene.disturb(replace(work.run, point=losing, fate="loses_connections"))
        assert REACHED in trace.news
        assert DONE in trace.news
        if any(news.startswith(FAILED) for news in trace.news):
            assert_one_line_of_ours(failure(trace), "start the server")
        invariants.assert_survived(scene, work, trace)
        count_cases("dropped connections")


@pytest.fixture(scope="module")
def fragile_world(sandbox_process, tmp_path_factory) -> Iterator[World]:
    """A world on a server of its own, which may go down: what it has committed has left its memory."""
    with new_server("fsync", "full_page_writes") as server:
        template = server.migrated()
        yield World(server, sandbox_process, tmp_path_factory.mktemp("fragile"), template)


@pytest.mark.full
@pytest.mark.parametrize("point", points("mid_copy", "before_commit", "after_commit"), ids=lambda point: point.name)
def test_a_server_that_is_stopped_at_once_comes_back_with_all_that_was_committed(fragile_world, count_cases, point):
    world = fragile_world
    work = world.work(STOCKS)
    world.vendors()
    with world.scene(work.before) as scene:
        # A sequence copied with its database goes on without writing to the log until the next checkpoint.
        world.server.execute("checkpoint")
        trace = scene.disturb(replace(work.run, point=point, fate="loses_server"), watch=False)
        assert REACHED in trace.news
        embedded.ensure_running(world.server.home)
        invariants.assert_survived(scene, work, trace)
        count_cases("servers stopped at once")


@pytest.fixture(scope="module")
def distant_world(sandbox_process, tmp_path_factory) -> Iterator[World]:
    """A world whose server is reached by TCP."""
    with tcp_server() as server:
        yield World(server, sandbox_process, tmp_path_factory.mktemp("distant"), server.migrated())


@pytest.mark.full
@pytest.mark.parametrize("fate", ["network_resets", "network_is_silent"])
@pytest.mark.parametrize("point", points("mid_copy", "before_commit"), ids=lambda point: point.name)
def test_a_network_that_is_cut_in_mid_write_ends_the_run_in_time_and_leaves_nothing_half_done(
    distant_world, count_cases, point, fate
):
    """Silent: no packet arrives any more, on either side, and nothing says so."""
    world = distant_world
    work = world.work(STOCKS)
    world.vendors()
    with world.scene(work.before) as scene, relay(world.server.address.port) as network:
        run = replace(work.run, point=point, fate=fate, network=(network.port, network.control))
        trace = scene.disturb(run)
        assert REACHED in trace.news
        assert trace.seconds < BOUND
        if any(news.startswith(FAILED) for news in trace.news):
            assert_one_line_of_ours(failure(trace), "start the server")
        invariants.assert_survived(scene, work, trace)
        count_cases("networks cut")


def test_rows_that_another_session_locks_are_not_waited_for_for_ever(world, count_cases):
    work = world.work(STOCKS)
    world.vendors()
    with world.scene(work.before) as scene:
        trace = locked_out(scene, replace(work.run, lock_seconds=1))
        assert_one_line_of_ours(failure(trace), "has held the rows")
        assert trace.seen[-1] == work.before.contents
        invariants.assert_survived(scene, work, trace)
        count_cases("locks held")


def locked_out(scene: Scene, run) -> Trace:
    """Make the run while another session holds the table."""
    with scene.connect() as connection, connection.transaction():
        connection.execute("lock table stock_prices_daily in share mode")
        return scene.disturb(run)


@pytest.mark.full
def test_eight_runs_at_once_on_the_same_partitions_leave_one_right_result(world, count_cases):
    work = world.work(STOCKS)
    world.vendors()
    with world.scene(work.before) as scene:
        traces = scene.crowd(work.run, AT_ONCE)
        assert [trace.news[-1] for trace in traces] == [DONE] * AT_ONCE
        assert [news for trace in traces for news in trace.news if news.startswith(FAILED)] == []
        assert scene.look() == work.after
        invariants.assert_survived(scene, work, traces[0])
        count_cases("runs at once", AT_ONCE)
