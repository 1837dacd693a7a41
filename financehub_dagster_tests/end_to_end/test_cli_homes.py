"""Several platforms in one folder: commands find what runs there, or take --home; and what `up` says before it asks."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from financehub_dagster.cli import home as homes
from financehub_dagster.cli.app import run
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Home, Mode
from financehub_dagster.cli.supervisor import launch
from financehub_dagster.cli.supervisor.processes import Leader, members
from financehub_dagster.cli.supervisor.state import State, running
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually

# What `up --sandbox` is to other commands, without what makes it slow: a supervisor and a process.
SUPERVISED = """
import os, sys
from contextlib import suppress
from pathlib import Path
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.supervisor.services import Service
from financehub_dagster.cli.signals import StopRequested, stop_signals
from financehub_dagster.cli.supervisor.state import sole_supervisor
from financehub_dagster.cli.supervisor.supervisor import Supervisor
home = Home(Path(sys.argv[1]), Path(sys.argv[1], "dagster"))
with sole_supervisor(home), stop_signals() as stop, Supervisor(home, os.environ, Console()) as supervisor:
    supervisor.start(Service("sleeper", (sys.executable, "-c", "import time; time.sleep(600)")))
    print("up", flush=True)
    with suppress(StopRequested):
        supervisor.serve(stop)
"""


@pytest.fixture
def demo(folder) -> Iterator[Home]:
    """A platform of the sample market that runs in a folder whose `.env` leads to the live home."""
    demo = homes.home_to_start(Mode.SANDBOX)
    demo.prepare(Mode.SANDBOX)
    live = homes.home_to_start(Mode.LIVE)
    live.prepare(Mode.LIVE)
    homes.env_file().write_block(homes.block_for(live, Mode.LIVE))
    with subprocess.Popen([sys.executable, "-c", SUPERVISED, str(demo.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield demo
        process.terminate()


def killed(demo: Home) -> Leader:
    """The part that goes on of a platform whose supervisor and guard were killed at once."""
    state = State.read(demo.state_file)
    assert state is not None
    [child] = state.children
    supervisor = psutil.Process(state.supervisor.pid)
    guards = [each for each in supervisor.children() if each.pid != child.pid]
    for each in (supervisor, *guards):
        each.suspend()
    for each in (*guards, supervisor):
        each.kill()
    eventually(lambda: running(demo) is None)
    return child


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """What a command says, which leaves the environment as it was, as a process does."""
    before = dict(os.environ)
    code = run([*arguments, "--json"])
    os.environ.clear()
    os.environ.update(before)
    answer = capsys.readouterr()
    assert code == 0, answer.err
    found: dict = json.loads(answer.out)
    return found


def test_down_stops_what_runs_here_although_env_leads_elsewhere(demo, capsys):
    assert told(capsys, "status")["others"] == [str(demo.path)]
    assert told(capsys, "down") == {"home": str(demo.path), "stopped": ["supervisor", "sleeper"]}
    assert running(demo) is None
    assert told(capsys, "down")["stopped"] == []


@pytest.mark.parametrize("command", [["up", "--sandbox"], ["demo"]])
def test_what_a_killed_platform_left_is_told_and_ended_before_another_one_starts(demo, capsys, command):
    left = killed(demo)
    assert told(capsys, "status", "--home", ".financehub/demo")["left"] == ["sleeper"]
    with socket.create_server(("127.0.0.1", 0)) as taken:  # the command ends there
        assert run([*command, "--home", ".financehub/demo", "--port", str(taken.getsockname()[1])]) == 1
    first, _ = capsys.readouterr().err.splitlines()
    assert first == "warning: a platform was killed here and left sleeper: these have been ended"
    assert not members([left])


@pytest.mark.parametrize("named", ["option", "environment"])
def test_the_home_that_is_named_is_meant(demo, capsys, monkeypatch, named):
    option = ["--home", ".financehub/demo"] if named == "option" else []
    if named == "environment":
        monkeypatch.setenv("FINANCEHUB_HOME", str(demo.path))
    status = told(capsys, "status", *option)
    assert (status["home"], status["services"]) == (str(demo.path), {"sleeper": "running"})
    assert told(capsys, "down", *option)["home"] == str(demo.path)
    assert running(demo) is None


def test_nothing_else_is_stopped_when_the_named_home_does_not_run(demo, capsys):
    assert told(capsys, "down", "--home", ".financehub/live")["stopped"] == []
    assert running(demo) is not None


def test_a_command_for_one_home_gets_nothing_that_env_says_of_another(folder, monkeypatch):
    demo, live = homes.home_to_start(Mode.SANDBOX), homes.home_to_start(Mode.LIVE)
    homes.env_file().write_block(homes.block_for(demo, Mode.SANDBOX, "http://127.0.0.1:9"))
    assert get_settings().yahoo_base_url is not None
    with homes.chosen_home(".financehub/live"):
        home = homes.home_in_use()
        assert home == live
        homes.enter(home, Mode.LIVE)
    get_settings.cache_clear()
    assert get_settings().yahoo_base_url is None


class Started(Platform):
    """`financehub up` with real vendors, stopped before it asks them anything."""

    def says(self, *arguments: str, until: str) -> str:
        """What it says before its first request; the daemon, which asks, starts last."""
        process = self.start("up", "--port", "0", *arguments)
        eventually(lambda: until in self.errors.read_text() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=100)
        self.process = None
        return self.errors.read_text()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    (tmp_path / ".env").write_text("FINANCEHUB_HISTORY_START=2016-01-01\n")
    platform = Started(tmp_path)
    yield platform
    platform.end()


@pytest.mark.slow
def test_up_says_what_it_will_ask_before_it_asks(started):
    said = started.says(until="`financehub gaps` shows")
    assert "75 from the default universe (`financehub up --empty` starts with none)" in said
    assert "instruments have no bars yet. From now on vendors are asked: yahoo for " in said
    assert "binance for " in said
    assert "daily bars since 2016-01-01" in said


def test_a_platform_can_start_with_no_instruments_and_remembers_it(folder, database, dagster_database, capsys):
    for empty in (True, False):
        home = homes.home_to_start(Mode.LIVE)
        launch.enter_home(home, Mode.LIVE, Console())
        launch.open_database(home, Mode.LIVE, Console(), empty=empty)
        said = capsys.readouterr().err
        assert "no instruments: nobody is asked until" in said
        assert "vendors are asked" not in said
        assert "default universe" not in said


@pytest.mark.parametrize(
    "command",
    [
        ["gaps"],
        ["instruments", "list"],
        ["backfill", "stock_prices_daily", "--from", "2024-01", "--to", "2024-01"],
        ["export", "stock_prices_daily"],
        ["backup", "create"],
        ["db", "url"],
        ["mcp"],
    ],
)
def test_a_folder_that_is_no_home_stays_as_it_is(folder, capsys, command: list[str]) -> None:
    """Who mistypes one gets neither a home nor a database there."""
    assert run([*command, "--home", "mistyped"]) == 1
    assert "mistyped: nothing was ever started here: `financehub up` starts a platform" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
