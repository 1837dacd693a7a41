"""Parts of a running platform that are dead while their processes live, or frozen: each works again, and it is told."""

import json
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil
import pytest

from financehub_dagster.cli.supervisor.services import shows_code
from financehub_dagster_tests.end_to_end.conftest import empty_folder
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

PATIENCE = 300.0
"""Seconds: a minute when the machine is idle, and it seldom is."""
FROZEN_SECONDS = 65.0
"""Longer than any part waits for another."""
PARTS = {"sandbox", "code-server", "webserver", "daemon", "serve"}


class Ailing(Platform):
    """A running platform, its processes, and what it says of itself."""

    def processes(self, part: str) -> list[psutil.Process]:
        """The first process of a part; all of the database's."""
        if part == "database":
            first = psutil.Process(int((self.home.path / "postgres/postmaster.pid").read_text().split()[0]))
            return [first, *first.children(recursive=True)]
        [leader] = [child for child in self.state().children if child.name == part]
        return [psutil.Process(leader.pid)]

    def everything(self) -> list[psutil.Process]:
        """The supervisor and whatever it started, the database too."""
        supervisor = psutil.Process(self.state().supervisor.pid)
        return [supervisor, *supervisor.children(recursive=True), *self.processes("database")]

    def status(self) -> dict:
        """What `financehub status` says."""
        told = self.run("status", "--json")
        assert told.returncode == 0, told.stderr
        found: dict = json.loads(told.stdout)
        return found

    def works(self) -> bool:
        """Whether every part does its work, and the webserver shows the code."""
        status = self.status()
        return (
            status["services"] == dict.fromkeys(PARTS, "running")
            and not status["troubles"]
            and shows_code(status["urls"]["webserver"])
        )

    def ticks_since(self, instant: datetime) -> int:
        """How many times sensors and schedules were looked at."""
        [(count,)] = self.rows(
            "select count(*) from job_ticks where timestamp > %s and status in ('SKIPPED', 'SUCCESS')",
            instant.replace(tzinfo=None),
            dagster=True,
        )
        return int(count)

    def messages(self) -> str:
        """What its terminal shows."""
        return self.errors.read_text()


@pytest.fixture(scope="module")
def platform(tmp_path_factory) -> Iterator[Ailing]:
    """One platform for all of it."""
    with empty_folder(tmp_path_factory.mktemp("ailing")) as folder:
        platform = Ailing(folder)
        platform.prepare_quiet(datetime.now(UTC).date().replace(day=1))
    platform.up()
    yield platform
    platform.end()


STOPPED = "does not work: a signal has stopped its process"
CASES = [
    ("code-server", signal.SIGKILL, "code-server ended with exit code -9"),
    ("daemon", signal.SIGSTOP, f"daemon {STOPPED}"),
    ("database", signal.SIGSTOP, "the database does not answer: a signal has stopped its server"),
    ("code-server", signal.SIGSTOP, f"code-server {STOPPED}"),
    ("webserver", signal.SIGSTOP, f"webserver {STOPPED}"),
    ("sandbox", signal.SIGSTOP, f"sandbox {STOPPED}"),
    # Whoever is first starts it again: a part that needs it, or the supervisor.
    ("database", signal.SIGKILL, "the database( does not answer)?: its server has ended"),
]


@pytest.mark.parametrize(("part", "blow", "told"), CASES)
def test_a_part_that_does_not_work_is_restarted_and_the_person_is_told(platform, count_cases, part, blow, told):
    eventually(platform.works, PATIENCE)
    before = len(platform.messages())
    for process in platform.processes(part)[: 1 if blow == signal.SIGKILL else None]:
        process.send_signal(blow)
    eventually(lambda: re.search(told, platform.messages()[before:]), PATIENCE)
    eventually(platform.works, PATIENCE)
    assert platform.status()["restarts"][-1]["name"] == part
    assert f"restarted   {part} at " in platform.run("status").stdout
    now = datetime.now(UTC)
    eventually(lambda: platform.ticks_since(now) > 0, PATIENCE)
    count_cases("dead parts")


def test_a_platform_that_was_frozen_goes_on(platform, count_cases):
    eventually(platform.works, PATIENCE)
    before = platform.messages()
    frozen = platform.everything()
    try:
        for process in frozen:
            process.suspend()
        status = platform.status()
        assert set(status["services"].values()) == {"not working"}
        assert {"supervisor", "database", *PARTS} == set(status["troubles"])
        time.sleep(FROZEN_SECONDS)
    finally:
        for process in frozen:
            process.resume()
    now = datetime.now(UTC)
    eventually(platform.works, PATIENCE)
    eventually(lambda: platform.ticks_since(now) > 0, PATIENCE)
    assert "nothing ran here for " in platform.messages()[len(before) :]
    assert "does not work" not in platform.messages()[len(before) :]
    count_cases("dead parts")


def test_a_frozen_supervisor_can_be_stopped(platform, count_cases):
    state = platform.state()
    psutil.Process(state.supervisor.pid).suspend()
    stopped = json.loads(platform.run("down", "--json").stdout)["stopped"]
    assert "supervisor" in stopped
    eventually(lambda: platform.nothing_left(state))
    count_cases("dead parts")
