"""The platform as its processes: starting one, asking it, and what of it is left.

Belongs here: what every test of running processes needs. Does not belong here: tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import IO, LiteralString

import psycopg

from financehub_dagster.cli import prepare
from financehub_dagster.cli.home import Home, Mode, enter
from financehub_dagster.cli.supervisor import ports
from financehub_dagster.cli.supervisor.processes import members
from financehub_dagster.cli.supervisor.state import State
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import embedded
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.fixtures.database import reset_engine


class Platform:
    """A folder of the sample market, and commands there as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / ".financehub/demo", folder / ".financehub/demo/dagster")
        self.port = ports.pick_free()
        self.errors = folder / "up.err"
        self.process: subprocess.Popen[str] | None = None

    def prepare_quiet(self, history_start: date, **own: str) -> None:
        """A database with a pair of currencies only, of which no table takes bars: nothing is fetched by itself.

        own: further variables that a person has set in `.env`.
        """
        lines = {"FINANCEHUB_HISTORY_START": str(history_start), "MY_OWN": "line", **own}
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        self.home.prepare(Mode.SANDBOX)
        with self.database_alone():
            prepare.migrate()
            with transaction() as connection:
                upsert_instruments(connection, [Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")])

    @contextmanager
    def database_alone(self) -> Iterator[None]:
        """Its database for this process, in `empty_folder`, while no part of the platform runs."""
        enter(self.home, Mode.SANDBOX)
        get_settings.cache_clear()
        yield
        reset_engine()
        embedded.release(self.home.path)

    def environment(self) -> dict[str, str]:
        """The environment of a person who has configured nothing."""
        ours = ("FINANCEHUB_", "DAGSTER_", "YAHOO_", "BINANCE_")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def run(self, *arguments: str, timeout: float = 170) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        command = [sys.executable, "-m", "financehub_dagster.cli", *arguments]
        environment = self.environment()
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """One command that stays; its messages go to a file."""
        with self.errors.open("w") as errors:
            self.process = self.beside(*arguments, errors=errors)
        return self.process

    def beside(self, *arguments: str, errors: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        """One command that goes on while a test does something else."""
        command = [sys.executable, "-m", "financehub_dagster.cli", *arguments]
        environment = self.environment()
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )

    def update_runs(self, status: str) -> set[str]:
        """The runs of `update` in this status: no other run over chosen tables is of the class `high`."""
        query = """select run_id from runs where pipeline_name = '__ASSET_JOB' and status = %s
            and run_id in (select run_id from run_tags where key = 'financehub/queue' and value = 'high')"""
        return {run_id for (run_id,) in self.rows(query, status, dagster=True)}

    def up(self) -> dict[str, object]:
        """Start it and wait until it says that it is up."""
        process = self.start("up", "--sandbox", "--port", str(self.port), "--serve-port", "0", "--json")
        assert process.stdout is not None
        lines: list[str] = []
        while line := process.stdout.readline():
            lines.append(line)
            if line == "}\n":
                started: dict[str, object] = json.loads("".join(lines))
                return started
        raise AssertionError(self.errors.read_text())

    def state(self) -> State:
        """Who runs."""
        state = State.read(self.home.state_file)
        assert state is not None
        return state

    def rows(self, query: LiteralString, *values: object, dagster: bool = False) -> list[tuple]:
        """The rows of a query to the market database, or to Dagster's own."""
        with psycopg.connect(self.url(*(["--dagster"] if dagster else []))) as connection:
            return connection.execute(query, values).fetchall()

    @cache  # noqa: B019 - a platform lives as long as its test
    def url(self, *options: str) -> str:
        """The address of a database; `--dagster`: of Dagster's own."""
        found = self.run("db", "url", "--json", *options)
        assert found.returncode == 0, found.stderr
        return str(json.loads(found.stdout)["url"])

    def nothing_left(self, state: State) -> bool:
        """Whether every process of `state`, its descendants and the database are gone."""
        return not members(state.children) and not embedded.status(self.home.path).running

    def end(self) -> None:
        """Whatever a test left."""
        self.run("down")
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
