"""The process that is killed: one run of the product on a real instance, as a run worker would make it.

Belongs here: what happens in that process. Does not belong here: starting it, and what is asserted afterwards
(kill_scene). It is forked from one that has loaded the product, and it opens its connections after the fork.
"""

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from sqlalchemy.engine import make_url

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.urls import DAGSTER_SUFFIX
from financehub_dagster_tests.faults.kill.kill_points import Point
from financehub_dagster_tests.fixtures.relay import cut

if TYPE_CHECKING:
    from financehub_dagster.automation.runs import RunOutcome

STARTED, REACHED, FAILED, DONE = "started", "reached", "failed: ", "done"
"""What a run tells: its work begins, it is at its point, the reason of a step that failed, it has ended by itself."""


@dataclass(frozen=True)
class Run:
    """What a process does: fill `tables` over the partitions `first` to `last`, try all dead letters again, or recover.

    At `point`, if it has one, its `fate` happens: the signal `number` kills it, or its database goes away. It waits
    `lock_seconds` for rows that others hold. It reaches the market database by way of `network`, if it has one: the
    ports of a relay and of its control.
    """

    does: Literal["fill", "replay", "recover"]
    tables: Sequence[str] = ()
    first: str = ""
    last: str = ""
    symbols: Sequence[str] = ()
    point: Point | None = None
    fate: Literal["is_killed", "loses_connections", "loses_server", "network_resets", "network_is_silent"] = "is_killed"
    number: signal.Signals = signal.SIGKILL
    lock_seconds: int = 60
    network: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Place:
    """Where a run takes place: its environment variables, and the file that its messages go to."""

    environment: dict[str, str]
    log: Path


def live(run: Run, place: Place, news: Connection) -> None:
    """The life of the process: the run, and its point if it has one."""
    from dagster._utils.interrupts import setup_interrupt_handlers

    from financehub_dagster_tests.faults.kill import kill_switch

    _redirect(place.log)
    os.environ.update(place.environment)
    if run.network[0]:
        _go_by_way_of(run.network[0])
    get_settings.cache_clear()
    # A run worker takes SIGTERM for SIGINT.
    setup_interrupt_handlers()
    _scale(run)
    if run.point is not None:
        kill_switch.install(run.point, lambda: _meet(run, news))
    try:
        outcome = _perform(run, lambda: news.send(STARTED))
        if outcome is not None and outcome.error is not None:
            news.send(FAILED + outcome.error)
        news.send(DONE)
    except BaseException:
        traceback.print_exc()
        raise


def _perform(run: Run, started: Callable[[], None]) -> "RunOutcome | None":
    import dagster as dg

    from financehub_dagster.automation.failures.recovery import recover
    from financehub_dagster.automation.failures.replay import JOB, STEP
    from financehub_dagster.automation.runs import run_job
    from financehub_dagster_tests.fixtures.runs import materialize
    from financehub_dagster_tests.fixtures.warm import DEFINITIONS

    def seen(event: dg.DagsterEvent) -> None:
        if event.event_type == dg.DagsterEventType.STEP_START and event.step_key in (*run.tables, STEP):
            started()

    with dg.DagsterInstance.get() as instance:
        if run.does == "fill":
            return materialize(
                DEFINITIONS, run.tables, run.first, run.last, run.symbols, on_event=seen, instance=instance
            )
        if run.does == "replay":
            config = {"ops": {STEP: {"config": {"ids": all_dead_letters()}}}}
            return run_job(DEFINITIONS.get_repository_def(), JOB, config, instance=instance, on_event=seen)
        started()
        recover(instance, datetime.now(UTC))
        return None


def all_dead_letters() -> list[int]:
    """The ids of all rows that wait for another try."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.dead_letters.replays import ids_to_replay

    with transaction() as connection:
        return ids_to_replay(connection, due_only=False)


def _scale(run: Run) -> None:
    """Cut the work into as many transactions and pieces as a large run has: two instruments each, a few rows each."""
    from financehub_dagster import tables
    from financehub_dagster.ingest import concurrency, derived
    from financehub_dagster.storage.database import session_settings
    from financehub_dagster.storage.upsert import binary_copy

    sizes: list[tuple[ModuleType, str, int]] = [
        (concurrency, "BATCH", 2),
        (concurrency, "QUICK_BATCH", 2),
        (derived, "BATCH", 2),
        (binary_copy, "CHUNK_BYTES", 2048),
    ]
    for module, name, size in sizes:
        assert hasattr(module, name), f"{module.__name__} has no {name} any more"
        setattr(module, name, size)
    assert "lock_timeout" in session_settings.LIMITS
    session_settings.LIMITS["lock_timeout"] = f"{run.lock_seconds}s"
    tables.SNAPSHOTS["quotes"] = replace(tables.SNAPSHOTS["quotes"], batch=2)


def _meet(run: Run, news: Connection) -> None:
    """Let the fate of `run` happen."""
    news.send(REACHED)
    match run.fate:
        case "is_killed":
            os.kill(os.getpid(), run.number)
        case "loses_connections":
            _drop_connections()
        case "loses_server":
            _stop_server()
        case "network_resets":
            cut(run.network[1], "reset")
        case "network_is_silent":
            cut(run.network[1], "silence")


def _go_by_way_of(port: int) -> None:
    """Reach the market database through the relay on `port`, and Dagster's own without."""
    url = make_url(os.environ["FINANCEHUB_DATABASE_URL"])
    dagster = url.set(database=f"{url.database}{DAGSTER_SUFFIX}")
    for name, each in (("DATABASE", url.set(port=port)), ("DAGSTER_DATABASE", dagster)):
        os.environ[f"FINANCEHUB_{name}_URL"] = each.render_as_string(hide_password=False)


def _drop_connections() -> None:
    """Have the server close every connection to the market database, as an administrator or a restart does."""
    from financehub_dagster.storage.database.creation import autocommit
    from financehub_dagster.storage.database.urls import market_url

    others = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database()"
    with autocommit(market_url()) as connection:
        connection.exec_driver_sql(f"{others} and pid <> pg_backend_pid() and application_name = 'financehub'")


def _stop_server() -> None:
    """Stop the server as `pg_ctl stop -m immediate` does: no goodbye, recovery at its next start."""
    import psutil

    from financehub_dagster.storage.database import processes
    from financehub_dagster.storage.database.creation import autocommit
    from financehub_dagster.storage.database.urls import market_url

    with autocommit(market_url()) as connection:
        session = connection.exec_driver_sql("select pg_backend_pid()").scalar_one()
        server = psutil.Process(session).parent()
        assert server is not None
        start = processes.start_of(server.pid)
        server.send_signal(signal.SIGQUIT)
        while processes.is_alive(server.pid, start):
            Event().wait(0.01)


def _redirect(log: Path) -> None:
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    os.close(opened)
