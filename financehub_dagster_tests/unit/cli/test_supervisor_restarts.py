"""The supervisor over small real processes: restarts, their bound, and leaving nothing behind."""

import io
import json
import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home, Mode
from financehub_dagster.cli.signals import StopRequested, StopSignals
from financehub_dagster.cli.supervisor import launch
from financehub_dagster.cli.supervisor import supervisor as supervisors
from financehub_dagster.cli.supervisor.services import Service
from financehub_dagster.cli.supervisor.state import State, running, sole_supervisor
from financehub_dagster.cli.supervisor.supervisor import RestartPolicy, Supervisor
from financehub_dagster.operations.probes import Trouble
from financehub_dagster_tests.fixtures.eventually import eventually

QUICK = RestartPolicy(most=2, delay=0.05)


@pytest.fixture
def home(tmp_path) -> Home:
    home = Home(tmp_path, tmp_path / "dagster")
    home.prepare(Mode.LIVE)
    return home


@pytest.fixture
def messages() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(home, messages):
    with Supervisor(home, os.environ, Console(messages=messages), QUICK) as supervisor:
        yield supervisor


def service(name: str, code: str, **options) -> Service:
    return Service(name, (sys.executable, "-c", code), **options)


def pid(home: Home, name: str) -> int:
    state = State.read(home.state_file)
    assert state is not None
    [found] = [c for c in state.children if c.name == name]
    return found.pid


def child(home: Home, name: str) -> psutil.Process:
    return psutil.Process(pid(home, name))


def sleepers() -> list[psutil.Process]:
    """The children of this process that a test has its supervisor start."""
    return [each for each in psutil.Process().children() if "import time; time.sleep(600)" in each.cmdline()]


def test_a_process_that_dies_is_started_again_and_the_person_is_told(supervisor, home, messages):
    supervisor.start(service("sleeper", "import time; time.sleep(600)"))
    before = child(home, "sleeper")
    before.kill()
    eventually(lambda: pid(home, "sleeper") != before.pid)
    assert child(home, "sleeper").is_running()
    assert "sleeper ended with exit code -9, it starts again in 0.05 s: see" in messages.getvalue()


def test_a_process_that_keeps_dying_ends_the_platform_with_its_name_and_log(supervisor):
    supervisor.start(service("doomed", "raise SystemExit(3)"))
    with pytest.raises(CommandError, match=r"doomed ended 3 times, the last time with exit code 3: see .*doomed\.log"):
        supervisor.serve(StopSignals())


def test_a_process_that_never_gets_ready_is_named_with_its_last_words(supervisor):
    supervisor.start(service("broken", "raise SystemExit('no such port')", ready=lambda: False))
    with pytest.raises(CommandError, match="broken ended with exit code 1 before it was ready: no such port"):
        supervisor.wait_ready("broken", StopSignals())


def test_waiting_for_a_slow_process_has_an_end(supervisor):
    supervisor.start(service("slow", "import time; time.sleep(600)", ready=lambda: False, ready_within=0.3))
    with pytest.raises(CommandError, match="slow is not ready after 0 s"):
        supervisor.wait_ready("slow", StopSignals())


def test_a_request_to_stop_ends_any_wait(supervisor):
    stop = StopSignals()
    stop.requests = 1
    supervisor.start(service("slow", "import time; time.sleep(600)", ready=lambda: False))
    for wait in (lambda: supervisor.wait_ready("slow", stop), lambda: supervisor.serve(stop)):
        with pytest.raises(StopRequested):
            wait()


def test_leaving_ends_every_process_also_those_that_were_restarted(home):
    fixtures = set(psutil.Process().children(recursive=True))
    with Supervisor(home, os.environ, Console(messages=io.StringIO()), QUICK) as supervisor:
        supervisor.start(service("one", "import time; time.sleep(600)"))
        supervisor.start(service("two", "import time; time.sleep(600)", url="http://127.0.0.1:1"))
        first = child(home, "one")
        first.kill()
        eventually(lambda: pid(home, "one") != first.pid)
        processes = {child(home, "one"), child(home, "two"), *psutil.Process().children(recursive=True)} - fixtures
        assert len(processes) == 3  # two children and the guard
    assert not any(process.is_running() for process in processes)
    assert not home.state_file.exists()


def test_others_can_read_who_runs_and_where(supervisor, home):
    supervisor.start(service("pages", "import time; time.sleep(600)", url="http://127.0.0.1:3000"))
    state = running(home)
    assert state is not None
    assert state.supervisor.pid == os.getpid()
    assert state.urls == {"pages": "http://127.0.0.1:3000"}


def test_the_state_of_a_dead_supervisor_counts_for_nothing(home):
    home.state_file.write_text(
        json.dumps({"supervisor": {"name": "s", "pid": 2**22 + 1, "start": ""}, "urls": {}, "children": []})
    )
    assert running(home) is None


def test_a_damaged_state_file_is_named_and_not_guessed_at(home):
    home.state_file.write_text("{")
    with pytest.raises(CommandError, match=r"supervisor\.json: unreadable"):
        running(home)


def test_a_second_supervisor_is_refused_with_the_first_ones_process_and_address(supervisor, home):
    supervisor.start(service("webserver", "import time; time.sleep(600)", url="http://127.0.0.1:3000"))
    expected = rf"already running at http://127\.0\.0\.1:3000 \(process {os.getpid()}\); `financehub down` stops it"
    with sole_supervisor(home), pytest.raises(CommandError, match=expected), sole_supervisor(Home(home.path, Path())):
        pass


def test_a_large_log_is_set_aside_when_its_process_starts(supervisor, home):
    log = home.logs / "talker.log"
    log.write_bytes(b"x" * 10_000_001)
    supervisor.start(service("talker", "import time; print('new', flush=True); time.sleep(600)"))
    eventually(lambda: log.read_text() == "new\n")
    assert (home.logs / "talker.old.log").stat().st_size == 10_000_001


def test_a_process_that_lives_and_does_not_work_is_started_again_and_the_person_is_told(supervisor, home, messages):
    works = [False]

    def ask() -> None:
        if not works[0]:
            raise Trouble("nothing comes of it", 0.0)

    supervisor.start(service("idler", "import time; time.sleep(600)", probe=lambda _clock: ask, ready_within=0.0))
    before = child(home, "idler")
    eventually(lambda: pid(home, "idler") != before.pid)
    works[0] = True
    assert not before.is_running()
    assert "idler does not work: nothing comes of it, it starts again in 0.05 s: see" in messages.getvalue()
    eventually(lambda: "idler works again" in messages.getvalue())
    state = State.read(home.state_file)
    assert state is not None
    assert [restart.name for restart in state.restarts] == ["idler"]


def test_a_part_is_not_blamed_for_what_it_needs(supervisor, home, messages):
    def fails() -> None:
        raise Trouble("gone", 0.0)

    sleep = "import time; time.sleep(600)"
    supervisor.start(service("needed", sleep, probe=lambda _clock: fails, ready_within=0.0))
    supervisor.start(service("needy", sleep, probe=lambda _clock: fails, ready_within=0.0, needs=("needed",)))
    before = child(home, "needy")
    eventually(lambda: "needed does not work" in messages.getvalue())
    assert child(home, "needy") == before
    assert "needy" not in messages.getvalue()


def guards() -> list[psutil.Process]:
    ours = [p for p in psutil.process_iter(["ppid", "cmdline"]) if p.info["ppid"] == os.getpid()]
    return [p for p in ours if "financehub_dagster.cli.supervisor.guard" in (p.info["cmdline"] or ())]


def test_a_guard_that_dies_is_replaced(supervisor, home):
    supervisor.start(service("sleeper", "import time; time.sleep(600)"))
    [guard] = guards()
    guard.kill()
    eventually(lambda: [other for other in guards() if other != guard])
    supervisor.start(service("another", "import time; time.sleep(600)"))
    assert supervisor.failure is None


def test_a_state_that_cannot_be_written_stops_nothing_and_is_written_later(supervisor, home, messages):
    supervisor.start(service("one", "import time; time.sleep(600)"))
    first = child(home, "one")
    home.state_file.unlink()
    home.state_file.mkdir()  # as on a full disk, the system refuses to write the file
    first.kill()
    eventually(lambda: "one ended with exit code -9" in messages.getvalue())
    eventually(lambda: any(each.pid != first.pid for each in sleepers()))
    supervisor.check()
    home.state_file.rmdir()
    eventually(home.state_file.exists)
    assert child(home, "one") in sleepers()


def test_messages_that_cannot_be_written_stop_nothing(home):
    with (
        io.TextIOWrapper(Path("/dev/full").open("wb", buffering=0), write_through=True) as full,
        Supervisor(home, os.environ, Console(messages=full), QUICK) as supervisor,
    ):
        supervisor.start(service("one", "import time; time.sleep(600)"))
        first = child(home, "one")
        first.kill()
        eventually(lambda: pid(home, "one") != first.pid)
        supervisor.check()


def test_a_part_that_the_system_does_not_let_start_is_tried_again(supervisor, home, messages, monkeypatch):
    monkeypatch.setattr(supervisors, "AGAIN_SECONDS", 0.05)
    supervisor.start(service("one", "import time; time.sleep(600)"))
    first = child(home, "one")
    log = supervisor.log("one")
    log.unlink()
    log.mkdir()  # as on a full disk, the system refuses to open the log
    first.kill()
    eventually(lambda: "one cannot be started" in messages.getvalue())
    supervisor.check()
    log.rmdir()
    eventually(lambda: pid(home, "one") != first.pid)
    assert messages.getvalue().count("one cannot be started: [Errno 21] Is a directory") == 1


def test_a_part_that_is_not_essential_may_die_for_ever_and_the_platform_stays(supervisor, home):
    supervisor.start(service("extra", "raise SystemExit(1)", essential=False))
    eventually(lambda: len(restarts(home)) > QUICK.most + 1)
    supervisor.check()


def restarts(home: Home) -> list[str]:
    state = State.read(home.state_file)
    return [] if state is None else [restart.name for restart in state.restarts]


def test_health_and_metrics_take_another_port_where_theirs_is_taken(supervisor, home, messages, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(launch, "DEFAULT_PORT", port)
        url = launch.start_http_server(supervisor, None)
        assert url != f"http://127.0.0.1:{port}"
        assert f"port {port} is taken: health and metrics are on port {url.rpartition(':')[2]}" in messages.getvalue()
        assert json.loads(home.ports_file.read_text())["serve"] == int(url.rpartition(":")[2])
        with pytest.raises(CommandError, match="choose another one with --serve-port"):
            launch.start_http_server(supervisor, port)
