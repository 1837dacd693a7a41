"""The platform as the state machine drives it: a real database, a real sandbox, Dagster's instance, runs and kills.

Belongs here: what can be done to a platform, each act as the product does it. Does not belong here: which acts follow
each other (test_platform_machine) and what has to hold (platform_machine_truth).
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import count

import dagster as dg
import sqlalchemy as sa

from financehub_dagster.automation.failures import recovery, replay
from financehub_dagster.automation.jobs import healing
from financehub_dagster.automation.runs import RunOutcome, run_job
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster.storage.database import schema as tables
from financehub_dagster.storage.database.engine import market_engine, transaction
from financehub_dagster.storage.queries.instruments import deactivate_instruments, upsert_instruments
from financehub_dagster_tests.faults.kill import kill_switch
from financehub_dagster_tests.faults.kill.kill_points import Point
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.runs import materialize

type Instant = Point | int
"""When a process is killed: at a named point, or after so many signs of life."""

STOCKS, CRYPTOS, ACTIONS, INDICATORS = (
    "stock_prices_daily",
    "crypto_prices_daily",
    "corporate_actions",
    "indicators_daily",
)
BARS = (STOCKS, CRYPTOS)
ALL_TABLES = (*BARS, ACTIONS, INDICATORS)
DEADLINE_SECONDS = 60.0


@dataclass(frozen=True)
class Order:
    """A run over partitions, as a person or a schedule launches it; symbols None means all."""

    tables: tuple[str, ...]
    first: str
    last: str
    symbols: tuple[str, ...] | None = None

    @property
    def partition_key(self) -> str:
        """The range as dead letters name it."""
        return self.first if self.first == self.last else f"{self.first}...{self.last}"


@dataclass
class World:
    """One platform; `months` are the partitions there are, oldest first."""

    database: sa.Engine
    sandbox: Sandbox
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    months: Sequence[str]

    def __post_init__(self) -> None:
        self.began = datetime.now(UTC)

    @cached_property
    def reader(self) -> sa.Connection:
        """A connection for looking on, which sees what is committed."""
        return self.database.connect().execution_options(isolation_level="AUTOCOMMIT")

    def rows(self, query: str, **values: object) -> list[tuple]:
        """The rows of a query."""
        return [tuple(row) for row in self.reader.execute(sa.text(query), values)]

    def reset(self) -> None:
        """As on the first day: no rows, no runs, a vendor without changes."""
        self.sandbox.reset()
        names = ", ".join(tables.metadata.tables)
        self.reader.execute(sa.text(f"truncate {names} restart identity"))
        self.instance.wipe()
        self.began = datetime.now(UTC)

    def add(self, instruments: Iterable[Instrument]) -> None:
        """As `financehub instruments add`."""
        with transaction() as connection:
            upsert_instruments(connection, instruments)

    def deactivate(self, symbol: str) -> None:
        """As `financehub instruments remove`."""
        with transaction() as connection:
            deactivate_instruments(connection, [symbol])

    def fetch(self, order: Order) -> RunOutcome:
        """One run in this process."""
        return materialize(
            self.definitions, order.tables, order.first, order.last, order.symbols, instance=self.instance
        )

    def replay(self, ids: Sequence[int] | None = None) -> RunOutcome:
        """The job `replay_dead_letters` over the rows that are due, or over `ids`."""
        config = {"ops": {replay.STEP: {"config": {"ids": None if ids is None else list(ids)}}}}
        return run_job(self.repository, replay.JOB, config, instance=self.instance)

    @cached_property
    def repository(self) -> dg.RepositoryDefinition:
        """The definitions as a code server holds them."""
        return self.definitions.get_repository_def()

    def heal(self) -> list[Order]:
        """As `financehub gaps --heal`: orders until none is due that was not tried; returns those that were run."""
        tried: list[Order] = []
        while True:
            due = [order for order in self.due() if order not in tried]
            if not due:
                return tried
            for order in due:
                tried.append(order)
                self.fetch(order)

    def due(self) -> list[Order]:
        """What healing would do now."""
        router = (self.definitions.resources or {})["daily_bars"]
        assert isinstance(router, DailyBarsRouter)
        return [
            Order(healing.tables_of(order), order.first.isoformat(), order.last.isoformat(), order.symbols)
            for order in healing.due_orders(router, 4)
        ]

    def recover(self) -> recovery.Recovered:
        """As at every start of the platform."""
        return recovery.recover(self.instance, datetime.now(UTC))

    def pass_time(self) -> None:
        """All that waits for a time is due: retries, work put off, empty answers, open breakers, resting vendors."""
        with transaction() as connection:
            for statement in (
                "update task_failures set next_retry_at = now() where status = 'open'",
                "update deferred_work set until = now()",
                "update empty_answers set next_ask_at = now() where next_ask_at is not null",
                "update breakers set open_until = now(), probe_until = null",
                "update api_keys set benched_until = null",
                "update quotas set expires = '{}', units = '{}'",
            ):
                connection.execute(sa.text(statement))

    def crash(self, act: Callable[["World"], object], instant: Instant) -> bool:
        """Do `act` in a process that is killed at this instant; returns whether it was.

        A number counts signs of life: statements about to be executed, executed ones and commits, of the market
        database and of Dagster's alike. A process that does not come as far ends by itself.
        """
        before = self._backends()
        context = multiprocessing.get_context("fork")
        process = context.Process(target=_act_and_die, args=(self, act, instant))
        process.start()
        process.join(DEADLINE_SECONDS)
        try:
            assert process.exitcode is not None, f"a run was not over after {DEADLINE_SECONDS} s"
        finally:
            process.kill()
            process.join()
        held_on = "the server holds on to the connections of a process that is gone"
        eventually(lambda: not self._backends() - before, DEADLINE_SECONDS, held_on)
        assert process.exitcode in (0, -signal.SIGKILL), (
            f"the process failed by itself with exit code {process.exitcode}"
        )
        return process.exitcode == -signal.SIGKILL

    def _backends(self) -> set[int]:
        others = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        return {pid for (pid,) in self.rows(others)}


def _act_and_die(world: World, act: Callable[[World], object], instant: Instant) -> None:
    """What the forked process does; its parent's connections are not its own."""
    market_engine().dispose(close=False)
    die = kill_switch.kill_self(signal.SIGKILL)
    if isinstance(instant, Point):
        kill_switch.install(instant, die)
    else:
        _install_counter(instant, die)
    with dg.DagsterInstance.get() as instance:
        act(World(market_engine(), world.sandbox, world.definitions, instance, world.months))


def _install_counter(instant: int, die: kill_switch.Action) -> None:
    signs = count(1)

    def note(*_: object) -> None:
        if next(signs) == instant:
            die()

    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, moment, note)
