"""One market to work on: starting the process that is killed, watching what a reader sees, recovering.

Belongs here: processes and connections of one case. Does not belong here: what the case is (kill_world) and what has to
hold (kill_invariants).
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Self

import dagster as dg
import psycopg
from sqlalchemy.engine import URL

from financehub_dagster.automation.failures.recovery import Recovered, recover
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster.storage.database.urls import DAGSTER_SUFFIX
from financehub_dagster_tests.faults.kill.kill_invariants import Contents, contents, versions
from financehub_dagster_tests.faults.kill.kill_runner import DONE, Place, Run, all_dead_letters, live
from financehub_dagster_tests.fixtures.database import clear_caches
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.forks import forks

OBSERVER = "observer"
"""Connections of this name only look."""
PATIENCE = 120.0
"""Seconds after which a process that should have ended is taken for stuck."""
LOOK_SECONDS = 0.02


@dataclass
class Trace:
    """How a process went: what it told, how it ended, the seconds of its work, what a reader saw meanwhile."""

    news: list[str] = field(default_factory=list)
    exit_code: int | None = None
    seconds: float = 0.0
    seen: list[Contents] = field(default_factory=list)


class Scene:
    """A market database with Dagster's beside it, which the environment of this process points to."""

    def __init__(self, market: URL, place: Place) -> None:
        self.market = market
        self.place = place
        self._stack = ExitStack()
        self._instance: dg.DagsterInstance | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close what this process has opened."""
        self._stack.close()
        self._instance = None
        clear_caches()

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance in this process."""
        if self._instance is None:
            self._instance = self._stack.enter_context(dg.DagsterInstance.get())
        return self._instance

    def connect(self) -> psycopg.Connection:
        """A connection that only looks."""
        url = self.place.environment["FINANCEHUB_DATABASE_URL"]
        return psycopg.connect(url, application_name=OBSERVER, autocommit=True)

    @contextmanager
    def refusing(self, table: str) -> Iterator[None]:
        """Meanwhile no new row can be written to `table`."""
        with market_engine().begin() as connection:
            connection.exec_driver_sql(f"alter table {table} add constraint refused check (false) not valid")
        yield
        with market_engine().begin() as connection:
            connection.exec_driver_sql(f"alter table {table} drop constraint refused")

    def look(self) -> Contents:
        """What the market database holds now."""
        with self.connect() as connection:
            return contents(connection)

    def recover(self) -> Recovered:
        """What every start of the platform does, and a sensor."""
        return recover(self.instance, datetime.now(UTC))

    def heal(self) -> None:
        """Do again what waits for it, now that the vendors answer, and nothing else."""
        with market_engine().begin() as connection:
            connection.exec_driver_sql("delete from breakers")
        if all_dead_letters():
            self.make(Run("replay"))

    def make(self, run: Run) -> Trace:
        """Make the run, undisturbed and unwatched."""
        trace = self.disturb(run, watch=False)
        self._until_alone()
        assert trace.news[-1] == DONE, self.place.log.read_text()[-4000:]
        return trace

    def disturb(self, run: Run, kill_after: float | None = None, *, watch: bool = True) -> Trace:
        """Make the run in a process of its own while a reader looks on; kill it so many seconds after its start."""
        [trace] = self.crowd(run, 1, kill_after, watch=watch)
        return trace

    def crowd(self, run: Run, count: int, kill_after: float | None = None, *, watch: bool = True) -> list[Trace]:
        """Make the same run in `count` processes at once; the first trace has what a reader saw, if one is to watch."""
        self.leave()
        traces = [Trace() for _ in range(count)]
        with self._reader(traces[0].seen) if watch else nullcontext(), ExitStack() as stack:
            processes = [stack.enter_context(_Process(run, self.place)) for _ in traces]
            for process, trace in zip(processes, traces, strict=True):
                process.await_end(trace, kill_after)
            if watch:
                self._until_alone()
        return traces

    def _until_alone(self) -> None:
        """Wait until the server has noticed that the process is gone and has ended its transactions."""
        databases = [self.market.database, f"{self.market.database}{DAGSTER_SUFFIX}"]
        others = "select count(*) from pg_stat_activity where datname = any(%s) and application_name <> %s"
        with self.connect() as connection:
            eventually(
                lambda: connection.execute(others, [databases, OBSERVER]).fetchone() == (0,),
                PATIENCE,
                "sessions of a dead process live on",
            )

    @contextmanager
    def _reader(self, seen: list[Contents]) -> Iterator[None]:
        """Look again and again, and keep the contents whenever a row has changed."""
        ended = threading.Event()

        def read() -> None:
            before: list[tuple[object, ...]] = []
            with self.connect() as connection:
                while not ended.wait(LOOK_SECONDS):
                    now = versions(connection)
                    if now != before:
                        seen.append(contents(connection))
                    before = now

        thread = threading.Thread(target=read, name="reader")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Process:
    """A process that makes a run, and what it tells."""

    def __init__(self, run: Run, place: Place) -> None:
        context = forks()
        self.run = run
        self.news, self.theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=live, args=(run, place, self.theirs), name="killed")

    def __enter__(self) -> Self:
        self.process.start()
        self.theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.news.close()

    def await_end(self, trace: Trace, kill_after: float | None) -> None:
        """Wait until it has ended, killed by its run's signal so many seconds after its work began."""
        if self.news.poll(PATIENCE):
            _hear(self.news, trace.news, most=1)
        began = time.monotonic()
        if kill_after is not None:
            self.process.join(kill_after)
            if self.process.is_alive() and self.process.pid is not None:
                os.kill(self.process.pid, self.run.number)
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "the process neither ends nor dies"
        trace.seconds = time.monotonic() - began
        trace.exit_code = self.process.exitcode
        _hear(self.news, trace.news)


def _hear(news: Connection, heard: list[str], most: int | None = None) -> None:
    """Add what a process has told, `most` of it or all; where it was killed there is no more."""
    with suppress(EOFError):
        while most is None or len(heard) < most:
            heard.append(news.recv())
