"""A platform as processes: up, refused twice, stopped, killed; nothing of it is left running."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from dotenv import dotenv_values

from financehub_dagster.cli import ports
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.processes import members
from financehub_dagster.cli.state import State, running
from financehub_dagster.sandbox.client import VENDORS
from financehub_dagster.storage import embedded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

FETCHING = "crypto_prices_daily - STEP_START"


class Platform:
    """`financehub up --sandbox` in a folder of its own, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / ".financehub/demo", folder / ".financehub/demo/dagster")
        self.port = ports.pick_free()
        self.errors = folder / "up.err"
        self.process: subprocess.Popen[str] | None = None

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
        command = [sys.executable, "-m", "financehub_dagster.cli", *arguments]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE, stderr=errors, text=True
            )
        return self.process

    def up(self) -> dict[str, object]:
        """Start it and wait until it says that it is up."""
        process = self.start("up", "--sandbox", "--port", str(self.port), "--json")
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

    def nothing_left(self, state: State) -> bool:
        """Whether every process of `state`, its descendants and the database are gone."""
        return not members(state.children) and not embedded.status(self.home.path).running

    def end(self) -> None:
        """Whatever a test left."""
        self.run("down")
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def platform(tmp_path) -> Iterator[Platform]:
    platform = Platform(tmp_path)
    yield platform
    platform.end()


def eventually(condition, seconds: float = 150.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        psutil.wait_procs([psutil.Process()], timeout=0.1)


def test_a_platform_answers_refuses_a_second_one_and_stops_without_a_trace(platform):
    (platform.folder / ".env").write_text("MY_OWN=line\n")
    started = platform.up()
    state = platform.state()
    with urlopen(f"{started['url']}/server_info") as answer:
        assert answer.status == 200

    env = dotenv_values(platform.folder / ".env")
    assert env["MY_OWN"] == "line"
    assert env["DAGSTER_HOME"] == str(platform.home.dagster)
    assert env["YAHOO_BASE_URL"] == f"{state.urls['sandbox']}/yahoo"

    status = json.loads(platform.run("status", "--json").stdout)
    assert set(status["services"].items()) == {
        (name, "running") for name in ("sandbox", "code-server", "webserver", "daemon")
    }
    assert status["rows"]["instruments"] == 70
    assert status["revision"] == status["head"]

    second = platform.run("up", "--sandbox")
    assert second.returncode == 1
    told = f"already running at {started['url']} (process {started['pid']}); `financehub down` stops it"
    assert second.stderr == f"financehub: {platform.home.path}: {told}\n"

    down = json.loads(platform.run("down", "--json").stdout)
    assert set(down["stopped"]) == {"supervisor", "sandbox", "code-server", "webserver", "daemon"}
    assert platform.process is not None
    assert platform.process.wait(timeout=5) == 0
    assert platform.errors.read_text().splitlines()[-1] == "stopping"
    assert platform.nothing_left(state)


def test_a_killed_platform_takes_its_processes_with_it(platform):
    platform.up()
    state = platform.state()
    assert len(members(state.children)) >= len(state.children) == 4
    assert platform.process is not None
    platform.process.kill()
    platform.process.wait()
    eventually(lambda: platform.nothing_left(state))
    assert running(platform.home) is None
    down = platform.run("down")
    assert (down.returncode, down.stdout) == (0, "nothing was running\n")


def test_a_demo_without_pages_fills_every_table_and_leaves_nothing_running(platform):
    demo = platform.run(
        "demo", "--no-ui", "--from", "2015-03", "--to", "2015-03", "--symbols", "AAPL,MSFT,BTC", "--json"
    )
    assert demo.returncode == 0, demo.stderr
    summary = json.loads(demo.stdout)
    rows = {table["table"]: (table["rows"], table["instruments"]) for table in summary["tables"]}
    assert rows["instruments"] == (70, 70)
    assert rows["stock_prices_daily"] == (2 * 22, 2)
    assert rows["crypto_prices_daily"] == (31, 1)
    assert rows["indicators_daily"] == (2 * 22 + 31, 3)
    assert all(table["partitions"] == 1 for table in summary["tables"] if table["first"] is not None)
    assert rows["quotes"][1] == 3
    assert (rows["crypto_markets"][1], rows["fundamentals"]) == (1, (2, 2))
    assert set(summary["calls"]) == set(VENDORS)
    assert summary["calls"]["yahoo"] == 2 + 3  # two histories; quotes, for which it wants a cookie and a crumb
    left = {each["vendor"]: each["left"] for each in summary["vendors"]}
    assert left["alpha_vantage"] == {"day": [23, 25]}
    assert set(left) == set(VENDORS)
    assert not summary["failures"]
    assert not embedded.status(platform.home.path).running
    assert not platform.home.state_file.exists()


def test_a_demo_that_is_interrupted_while_it_fetches_leaves_nothing_running(platform):
    demo = platform.start("demo", "--no-ui")
    runs = platform.home.logs / "runs.log"
    eventually(lambda: demo.poll() is not None or (runs.exists() and FETCHING in runs.read_text()))
    state = platform.state()
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=60) == 1
    assert platform.errors.read_text().splitlines()[-1] == "financehub: interrupted"
    assert platform.nothing_left(state)
