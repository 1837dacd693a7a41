"""Two platforms on one database, as real processes: one drives, the other is refused, stands by, or shows in health."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from financehub_dagster.cli.home import Home
from financehub_dagster.cli.supervisor.ports import pick_free
from financehub_dagster.cli.supervisor.services import write_workspace
from financehub_dagster.storage.database.urls import beside
from financehub_dagster.storage.operations.health_checks import Checked
from financehub_dagster_tests.faults.celery_machines import Machine, kill
from financehub_dagster_tests.fixtures.database import DatabaseServer, tcp_server
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.relay import Relay, relay

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

PATIENCE = 180.0
"""Seconds: a claim ends after thirty, and processes import everything on a busy machine."""
OURS = "financehub_dagster.cli.daemon"
DAGSTERS = "dagster._daemon"


class Site:
    """One database, and machines that reach it by way of relays or without."""

    def __init__(self, folder: Path, server: DatabaseServer, stack: ExitStack) -> None:
        self.folder = folder
        self.server = server
        self._stack = stack

    def machine(self, name: str, through: Relay | None = None) -> Machine:
        """A machine with a home of its own."""
        address = self.server.url("market").set(drivername="postgresql")
        if through is not None:
            address = address.set(port=through.port)
        made = Machine(self.folder / name, {"FINANCEHUB_DATABASE_URL": address.render_as_string()})
        self._stack.callback(made.end)
        return made

    def relay(self) -> Relay:
        """A network that can be cut."""
        port = self.server.address.port
        assert port is not None
        return self._stack.enter_context(relay(port))

    def drivers(self) -> list[str]:
        """The homes whose daemon has written a heartbeat within the last two seconds, by name of the machine."""
        query = "select home from daemons where beat_at > clock_timestamp() - interval '2 seconds'"
        with psycopg.connect(self._text()) as connection:
            return [Path(home).parent.name for (home,) in connection.execute(query)]

    def ticks(self) -> list[tuple[str, int]]:
        """The ticks that were made more than once: of which schedule, and how often."""
        query = """select selector_id || ' ' || timestamp, count(*) from job_ticks
            where type = 'SCHEDULE' group by 1 having count(*) > 1"""
        with psycopg.connect(self._text(dagster=True)) as connection:
            return connection.execute(query).fetchall()

    def _text(self, *, dagster: bool = False) -> str:
        url = self.server.url("market")
        return (beside(url) if dagster else url).set(drivername="postgresql").render_as_string()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack.enter_context(tcp_server()), stack)


def start_daemon(machine: Machine, module: str = OURS) -> subprocess.Popen[str]:
    """A daemon by itself, as in a container; its code server is nowhere."""
    if not (machine.folder / "home").exists():
        machine.run("db", "upgrade")
    home = Home(machine.folder / "home", machine.folder / "home/dagster")
    workspace = write_workspace(home, pick_free())
    environment = machine.environment() | {"DAGSTER_HOME": str(home.dagster)}
    with (machine.folder / "daemon.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "run", "-w", str(workspace)],
            cwd=machine.folder,
            env=environment,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    machine.started.append(process)
    return process


def start_up(machine: Machine) -> subprocess.Popen[str]:
    return machine.start("up", "up", "--empty", "--port", str(pick_free()), "--json")


def is_up(process: subprocess.Popen[str]) -> bool:
    """Wait until it says that it is up; False when it ends instead."""
    assert process.stdout is not None
    return any(line == "}\n" for line in iter(process.stdout.readline, ""))


def refusal(machine: Machine) -> str:
    """The line by which `up` was refused there."""
    lines = machine.log("up").splitlines()
    [line] = [each for each in lines if " drives this database: " in each]
    return line


def daemon_in_health(machine: Machine) -> Checked:
    """What health says there of the daemon, whatever it says of the rest."""
    command = [sys.executable, "-m", "financehub_dagster.cli", "health", "--json"]
    told = subprocess.run(
        command, cwd=machine.folder, env=machine.environment(), capture_output=True, text=True, check=False
    )
    return Checked("daemon", **json.loads(told.stdout)["components"]["daemon"])


def end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(60)


def test_of_two_platforms_one_drives_whether_the_other_lives_is_cut_off_or_is_killed(site, count_cases):
    networks = [site.relay(), site.relay()]
    machines = [site.machine(name, network) for name, network in zip(("one", "two"), networks, strict=True)]
    machines[0].run("db", "upgrade")
    processes = [start_up(machine) for machine in machines]
    ended = [not is_up(process) for process in processes]
    assert sorted(ended) == [False, True], [machine.log("up") for machine in machines]
    winner, loser = ended.index(False), ended.index(True)
    assert processes[loser].wait(60) == 1
    told = refusal(machines[loser])
    assert f"({machines[winner].folder / 'home'}, process {processes[winner].pid}, since " in told
    assert "`financehub down`" in told
    eventually(lambda: daemon_in_health(machines[loser]).status == "ok", PATIENCE)

    networks[winner].silence()
    after = start_up(machines[loser])
    assert is_up(after), machines[loser].log("up")
    assert "this platform starts when that claim ends, in " in machines[loser].log("up")
    assert "drives no more: " in (machines[winner].folder / "home/logs/daemon.log").read_text()
    networks[winner].restore()
    assert processes[winner].wait(120) == 1
    last = machines[winner].log("up").splitlines()[-1]
    assert last.startswith("financehub: this platform was cut off from its database, and ")
    assert f"({machines[loser].folder / 'home'}, process {after.pid}, since " in last
    assert last.endswith(" has taken over")
    assert site.ticks() == []

    # Dagster's own daemon asks for no claim, as `dagster dev` does not.
    plain = site.machine("plain")
    start_daemon(plain, DAGSTERS)
    eventually(lambda: daemon_in_health(plain).status == "degraded", PATIENCE)
    told = daemon_in_health(plain).detail
    assert told.startswith("2 drive, so ticks are made twice: stop all but one: ")
    for machine in (machines[loser], plain):
        assert f"({machine.folder / 'home'}, process " in told

    os.kill(after.pid, signal.SIGKILL)
    again = start_up(machines[winner])
    assert is_up(again), machines[winner].log("up")
    assert "this platform starts when that claim ends" not in machines[winner].log("up")
    end([again])
    count_cases("two platforms")


def test_a_second_daemon_stands_by_until_the_first_is_killed_or_stopped(site, count_cases):
    one, two = site.machine("one"), site.machine("two")
    first = start_daemon(one)
    eventually(lambda: site.drivers() == ["one"], PATIENCE)
    second = start_daemon(two)
    eventually(lambda: "stands by: " in two.log("daemon"), PATIENCE)
    assert f"({one.folder / 'home'}, process {first.pid}, since " in two.log("daemon")
    assert re.search(r"^2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d.* - stands by: ", two.log("daemon"), re.MULTILINE)
    kill(first)
    eventually(lambda: site.drivers() == ["two"], PATIENCE)
    third = start_daemon(one)
    eventually(lambda: "stands by: " in one.log("daemon"), PATIENCE)
    end([second])
    eventually(lambda: site.drivers() == ["one"], PATIENCE)
    end([third])
    count_cases("two platforms")
