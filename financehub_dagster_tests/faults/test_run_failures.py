"""Runs in processes of their own: eight on one partition, a reader beside them, and one that is killed while it writes.

The process that makes a run is forked from one that has loaded the product once (multiprocessing's forkserver), and
opens its connections after the fork.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from financehub_dagster.automation.failures.recovery import recover
from financehub_dagster.cli.home import Home, Mode
from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.contracts.scripted import Answer, scripted_vendor
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.forks import forks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STOCKS = "stock_prices_daily"
SYMBOLS = ["AAPL", "GE", "MSFT"]
FIRST, LAST = "2015-03-01", "2015-04-01"
SESSIONS = 22 + 21
POLL_SECONDS = 0.01
DEADLINE_SECONDS = 400.0
STOP_SECONDS = 20.0


def make_run(environment: dict[str, str], log: Path) -> None:
    """One run of the product, as a command makes it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    get_settings.cache_clear()

    from financehub_dagster_tests.fixtures.runs import materialize
    from financehub_dagster_tests.fixtures.warm import DEFINITIONS

    with dg.DagsterInstance.get() as instance:
        outcome = materialize(DEFINITIONS, [STOCKS], FIRST, LAST, SYMBOLS, instance=instance)
    raise SystemExit(not outcome.success)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have loaded the product already."""
    return forks()


class World:
    """A market database with its universe, Dagster's instance beside it, and runs in processes of their own."""

    def __init__(self, engine: sa.Engine, home: Home, processes: ForkServerContext, vendor: str) -> None:
        self.engine = engine
        self.log = home.path / "runs.log"
        names = ("FINANCEHUB_DATABASE_URL", "DAGSTER_HOME")
        self.environment = {**{name: os.environ[name] for name in names}, "YAHOO_BASE_URL": vendor}
        self.processes = processes

    @contextmanager
    def runs(self, count: int) -> Iterator[list[ForkServerProcess]]:
        """`count` runs, started together; none outlives the block."""
        started = [self.processes.Process(target=make_run, args=(self.environment, self.log)) for _ in range(count)]
        for process in started:
            process.start()
        try:
            yield started
        finally:
            for process in started:
                process.kill()
                process.join()

    def rows(self, query: str) -> list[tuple]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.fixture
def world(database: Database, sandbox, tmp_path, monkeypatch, processes) -> World:
    home = Home(tmp_path, tmp_path / "dagster")
    home.prepare(Mode.LIVE)
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    with database.engine.begin() as connection:
        upsert_instruments(connection, [each for each in default_universe() if each.symbol in SYMBOLS])
    with dg.DagsterInstance.get():  # makes Dagster's tables before eight processes want to
        return World(database.engine, home, processes, sandbox.yahoo_url)


def contents(world: World) -> list[tuple]:
    return world.rows(
        f"select symbol, count(*), md5(string_agg((to_jsonb(t) - 'fetched_at')::text, ',' order by date))"
        f" from {STOCKS} t group by symbol order by symbol"
    )


def test_eight_runs_of_one_partition_leave_one_correct_result_and_readers_see_whole_instruments(world):
    seen: set[int] = set()
    with world.runs(8) as runs:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(run.is_alive() for run in runs) and time.monotonic() < deadline:
            seen.update(count for _, count in world.rows(f"select symbol, count(*) from {STOCKS} group by symbol"))
            runs[0].join(POLL_SECONDS)
    assert [run.exitcode for run in runs] == [0] * 8, world.log.read_text()[-3000:]
    assert seen == {SESSIONS}, "half of an instrument's partition was readable"
    assert [row[:2] for row in contents(world)] == [(symbol, SESSIONS) for symbol in SYMBOLS]
    assert world.rows("select * from price_revisions") == []
    assert world.rows("select * from unreported_writes") == []
    assert world.rows("select * from task_failures") == []
    with dg.DagsterInstance.get() as instance:
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
        assert recover(instance, datetime.now(UTC)).reported == {}


def test_a_run_that_is_told_to_stop_does_not_wait_for_a_vendor_that_asks_for_patience(world):
    with scripted_vendor(Answer({}, 503, {"Retry-After": "25"})) as vendor:
        world.environment["YAHOO_BASE_URL"] = vendor.url
        with world.runs(1) as [run]:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not vendor.asked and run.is_alive() and time.monotonic() < deadline:
                run.join(POLL_SECONDS)
            assert run.pid is not None
            os.kill(run.pid, signal.SIGINT)
            run.join(STOP_SECONDS)
            assert run.exitcode is not None, "it waits for the vendor"
    with dg.DagsterInstance.get() as instance:
        [stopped] = instance.get_runs()
        assert stopped.is_finished
        assert stopped.status is not dg.DagsterRunStatus.SUCCESS


def test_a_run_killed_after_its_commit_is_recovered_and_holds_nothing(world, sandbox):
    """The kill comes as soon as the note of the write is readable, which is when the rows are."""
    with world.runs(1) as [run]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not world.rows("select * from unreported_writes") and run.is_alive() and time.monotonic() < deadline:
            run.join(POLL_SECONDS)
        run.kill()
        run.join()
    assert run.exitcode == -signal.SIGKILL, world.log.read_text()[-3000:]
    assert [row[:2] for row in contents(world)] == [(symbol, SESSIONS) for symbol in SYMBOLS]
    with dg.DagsterInstance.get() as instance:
        [killed] = instance.get_runs()
        found = recover(instance, datetime.now(UTC))
        assert found.lost_runs == [killed.run_id]
        assert found.unfinished_steps == 1
        assert len(found.reported[STOCKS]) == 2
        assert not recover(instance, datetime.now(UTC))
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
        assert len(instance.get_materialized_partitions(dg.AssetKey(STOCKS))) == 2
    assert world.rows("select partition_key, symbol, status from task_failures") == [
        (f"{FIRST}...{LAST}", "", "open"),
    ]
    before = contents(world)
    with world.runs(1) as [again]:
        again.join(DEADLINE_SECONDS)
    assert again.exitcode == 0, world.log.read_text()[-3000:]
    assert contents(world) == before
    assert world.rows("select status from task_failures") == [("resolved",)]
    assert world.rows("select * from unreported_writes") == []
