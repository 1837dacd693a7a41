"""A code server forks its runs from a process that has loaded what they need."""

import errno
import inspect
import os
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest

from financehub_dagster.automation import run_processes
from financehub_dagster_tests.fixtures.folder import REPOSITORY

DAGSTERS = """
sys.argv = ["dagster", *sys.argv[1:]]
import financehub_dagster.definitions
"""
OURS = """
from financehub_dagster.cli.supervisor import code_server
code_server.load_and_fork()
"""
CODE_SERVER = """
import multiprocessing, os, pathlib, signal, sys
from multiprocessing import forkserver
sys.loaded_by_the_code_server = True
LOADED
context = multiprocessing.get_context("spawn")
for days in (10, 20):
    pathlib.Path(".env").write_text(f"FINANCEHUB_MINUTES_DAYS={days}")
    run = context.Process(target=exec, args=[RUN])
    run.start()
    run.join(60)
    assert run.exitcode == 0, run.exitcode
    BETWEEN
"""
RUN = """
import os, sys
loaded = "financehub_dagster.ingest.derived" in sys.modules
from financehub_dagster.settings import get_settings
forked = hasattr(sys, "loaded_by_the_code_server")
print(os.getppid(), loaded, get_settings().financehub_minutes_days, forked, flush=True)
"""
KILLED = (
    "killed = forkserver._forkserver._forkserver_pid; os.kill(killed, signal.SIGKILL); "
    "os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)"
)

GOES_ON = "import dagster._grpc.server as of; assert of.DagsterApiServer._check_for_orphaned_runs.__wrapped__"
"""It goes on looking for runs that died (`automation.dead_runs`)."""


def runs_of(
    folder: Path, loaded: str, *program: str, run: str = RUN, between: str = "pass", **environment: str
) -> list[list[str]]:
    """What two runs of a code server print.

    With RUN: the parent, whether what they need was loaded, a setting that changes in between, and whether they are
    forks of what the code server has loaded. between: what happens there between the runs.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FINANCEHUB_")}
    code_server = CODE_SERVER.replace("LOADED", loaded).replace("BETWEEN", between)
    command = [sys.executable, "-c", f"RUN = {run!r}\n{code_server}", *program]
    ours |= {"PYTHONPATH": str(REPOSITORY), "FINANCEHUB_HOME": str(folder), **environment}
    done = subprocess.run(command, cwd=folder, env=ours, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_runs_are_forks_of_what_the_code_server_of_a_platform_has_loaded_and_read_the_settings_anew(
    tmp_path: Path,
) -> None:
    first, second = runs_of(tmp_path, OURS, between=GOES_ON)
    assert first == [first[0], "True", "10", "True"]
    assert second == [first[0], "True", "20", "True"], "both from one process"


def test_other_code_servers_fork_runs_from_a_new_process(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, DAGSTERS, "api", "grpc", between=GOES_ON)
    assert first == [first[0], "True", "10", "False"]
    assert second == [first[0], "True", "20", "False"], "both from one process"


def test_the_process_that_runs_are_forked_from_is_replaced_when_it_was_killed(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, OURS, between=f"if days == 10: {KILLED}")
    assert first[1:] == ["True", "10", "True"]
    assert second == [second[0], "True", "20", "False"]
    assert second[0] != first[0]


def test_runs_are_asked_for_in_the_home_or_where_its_path_is_too_long_in_a_temporary_folder(tmp_path: Path) -> None:
    (deep := tmp_path / ("a" * 60) / ("b" * 60)).mkdir(parents=True)
    for home in (tmp_path, deep):
        found = runs_of(tmp_path, OURS, FINANCEHUB_HOME=str(home))
        assert [each[1:] for each in found] == [["True", "10", "True"], ["True", "20", "True"]]
    assert (tmp_path / "runs.sock").is_socket()
    assert (tmp_path / "runs.sock").stat().st_mode & 0o077 == 0
    assert not list(deep.iterdir())


FULL = """
import errno, os
fork, own, refused = os.fork, os.getpid(), [1, 2, 3]
def refuse():
    if os.getpid() != own and refused:
        refused.pop()
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = refuse
"""


def test_a_run_waits_while_the_system_has_no_room_for_its_process(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, FULL + OURS)
    assert first == [first[0], "True", "10", "True"]
    assert second == [first[0], "True", "20", "True"], "both from one process"


def test_a_run_that_finds_no_room_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of forks goes on after this error, of which multiprocessing's code tells, and after no other one."""
    assert "e.errno != errno.ECONNABORTED" in inspect.getsource(forkserver.main)
    calls: list[int] = []

    def refuse() -> int:
        calls.append(1)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(run_processes, "FORK_SECONDS", 0.2)
    with pytest.raises(ConnectionAbortedError) as caught:
        run_processes._fork_when_possible(refuse)
    assert caught.value.errno == errno.ECONNABORTED
    assert len(calls) > 5


UNTIL_TOLD = """
import signal, time
def told(*_):
    print("told", flush=True)
    raise SystemExit(0)
signal.signal(signal.SIGTERM, told)
print("works", flush=True)
time.sleep(30)
"""
WATCHED = f"""
run = context.Process(target=exec, args=[RUN])
run.start()
time.sleep(3)
{KILLED}
time.sleep(3)
"""


def test_a_run_ends_when_the_process_that_it_was_forked_from_was_killed(tmp_path: Path) -> None:
    code_server = CODE_SERVER.replace("LOADED", OURS)
    before, _, _ = code_server.partition("for days")
    program = f"RUN = {UNTIL_TOLD!r}\nimport time\n{before}{WATCHED}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "FINANCEHUB_HOME": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert (done.stdout.split(), done.returncode) == (["works", "told"], 0), done.stderr


def test_nothing_is_forked_before_it_is_needed_where_others_start_the_runs(tmp_path: Path) -> None:
    first, _ = runs_of(tmp_path, OURS, FINANCEHUB_RUN_LAUNCHER="celery")
    assert first[1:] == ["True", "10", "False"]


def test_other_programs_start_processes_as_before(tmp_path: Path) -> None:
    found = runs_of(tmp_path, DAGSTERS, "asset", "materialize")
    assert [each[1:] for each in found] == [["False", "10", "False"], ["False", "20", "False"]]


RESOLVED = """
from dagster._core.definitions import definitions_class
from financehub_dagster.definitions import defs
assert definitions_class._create_repository_using_definitions_args
definitions_class._create_repository_using_definitions_args = None
print(defs.get_repository_def().has_job("realtime_pull"), flush=True)
"""


@pytest.mark.parametrize("loaded", [OURS, DAGSTERS], ids=["ours", "dagster's"])
def test_what_jobs_select_is_resolved_once_for_all_runs(tmp_path: Path, loaded: str) -> None:
    """It takes each run a fifth of a second otherwise."""
    assert runs_of(tmp_path, loaded, "api", "grpc", run=RESOLVED) == [["True"], ["True"]]


CALENDAR = """
from datetime import date
from financehub_dagster.market import calendars
print(len(calendars.known("XNYS", date(2024, 1, 1), date(2024, 1, 3)).dates), flush=True)
"""


@pytest.mark.parametrize("loaded", [OURS, DAGSTERS], ids=["ours", "dagster's"])
def test_runs_make_calendars_that_are_not_kept_or_too_old(tmp_path: Path, loaded: str) -> None:
    two_days = f"for file in pathlib.Path('cache').rglob('*.npz'): os.utime(file, (0, {time.time() - 172_800}))"
    found = runs_of(tmp_path, loaded, "api", "grpc", run=CALENDAR, between=two_days)
    assert found == [["2"], ["2"]]


PROCESSES = """
import multiprocessing
for kind in ("spawn", "forkserver", "fork"):
    process = multiprocessing.get_context(kind).Process(target=print, args=[kind], kwargs={"flush": True})
    process.start()
    process.join(30)
"""


@pytest.mark.parametrize("loaded", [OURS, DAGSTERS], ids=["ours", "dagster's"])
def test_runs_start_processes_of_their_own(tmp_path: Path, loaded: str) -> None:
    found = runs_of(tmp_path, loaded, "api", "grpc", run=PROCESSES)
    assert found == [["spawn"], ["forkserver"], ["fork"]] * 2


OUTPUT = """
import os, sys
import psutil
from dagster._core.execution.compute_logs import mirror_stream_to_file
with mirror_stream_to_file(sys.stdout, "./output"):
    print("what a step prints", flush=True)
    helpers = len(psutil.Process().children())
print(open("output").read().count("what a step prints"), helpers, flush=True)
"""


def test_what_runs_of_a_platform_print_goes_to_their_files_without_processes_that_copy_it(tmp_path: Path) -> None:
    assert runs_of(tmp_path, OURS, run=OUTPUT) == [["1", "0"], ["2", "0"]]


def test_what_other_runs_print_is_shown_where_they_are_started_as_well(tmp_path: Path) -> None:
    found = runs_of(tmp_path, DAGSTERS, "api", "grpc", run=OUTPUT)
    assert [line for line in found if line[0] != "what"] == [["1", "2"], ["2", "2"]]


CALENDARS = """
import sys
sys.argv = ["dagster", *sys.argv[1:]]
import financehub_dagster.definitions
from datetime import date
from financehub_dagster.market import calendars
for day in (2, 3):
    print(len(calendars.known("XNYS", date(2024, 1, 1), date(2024, 1, day)).dates), "pandas" in sys.modules)
"""


def test_a_code_server_leaves_making_calendars_to_a_process_that_has_loaded_what_it_takes(tmp_path: Path) -> None:
    """It would keep a hundred megabytes of libraries for good."""
    environment = {**os.environ, "FINANCEHUB_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", CALENDARS, "api", "grpc"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["1", "False", "2", "False"]), done.stderr
    assert list((tmp_path / "cache" / "calendars").glob("XNYS *.npz"))
