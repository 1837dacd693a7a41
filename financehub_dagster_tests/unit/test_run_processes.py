"""A code server forks its runs from a process that has loaded what they need."""

import os
import subprocess
import sys
from pathlib import Path

from financehub_dagster_tests.fixtures.folder import REPOSITORY

CODE_SERVER = """
import multiprocessing, os, pathlib, signal, sys, threading
sys.argv = ["dagster", *sys.argv[1:]]
sys.loaded_by_the_code_server = True
signal.signal(signal.SIGTERM, lambda *_: None)
connection = open("connection", "w")
os.environ["CONNECTION"] = str(connection.fileno())
BEFORE
import financehub_dagster.definitions
context = multiprocessing.get_context("spawn")
for days in (10, 20):
    pathlib.Path(".env").write_text(f"FINANCEHUB_MINUTES_DAYS={days}")
    run = context.Process(target=exec, args=[RUN])
    run.start()
    run.join()
    assert run.exitcode == 0
    BETWEEN
"""
RUN = """
import os, sys
loaded = "financehub_dagster.ingest.derived" in sys.modules
from financehub_dagster.settings import get_settings
forked = hasattr(sys, "loaded_by_the_code_server")
print(os.getppid(), loaded, get_settings().financehub_minutes_days, forked, flush=True)
"""
A_THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
KILLED = (
    "from multiprocessing import forkserver; killed = forkserver._forkserver._forkserver_pid; "
    "os.kill(killed, signal.SIGKILL); os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)"
)


def runs_of(folder: Path, *program: str, run: str = RUN, before: str = "", between: str = "pass") -> list[list[str]]:
    """What two runs print.

    With RUN: the parent, whether what they need was loaded, a setting that changes in between, and whether they are
    forks of the code server. before, between: what happens there before it loads the definitions, and between the runs.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FINANCEHUB_")}
    code_server = CODE_SERVER.replace("BEFORE", before).replace("BETWEEN", between)
    command = [sys.executable, "-c", f"RUN = {run!r}\n{code_server}", *program]
    environment["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_runs_are_forked_with_everything_loaded_and_read_the_settings_anew(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, "api", "grpc")
    assert first == [first[0], "True", "10", "True"]
    assert second == [first[0], "True", "20", "True"], "both from one process"


def test_a_code_server_that_has_threads_is_not_forked(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, "api", "grpc", before=A_THREAD)
    assert first == [first[0], "True", "10", "False"]
    assert second == [first[0], "True", "20", "False"]


def test_the_process_that_runs_are_forked_from_is_replaced_when_it_was_killed(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, "api", "grpc", between=f"if days == 10: {KILLED}")
    assert first[1:] == ["True", "10", "True"]
    assert second == [second[0], "True", "20", "False"]
    assert second[0] != first[0]


LET_GO = """
import os, signal
number = os.environ["CONNECTION"]
print(os.readlink(f"/proc/self/fd/{number}"), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""


def test_runs_share_no_connection_of_the_code_server_and_end_when_told(tmp_path: Path) -> None:
    assert runs_of(tmp_path, "api", "grpc", run=LET_GO) == [["/dev/null", "True"]] * 2


OUTPUT = """
import os, sys
import psutil
from dagster._core.execution.compute_logs import mirror_stream_to_file
with mirror_stream_to_file(sys.stdout, "./output"):
    print("what a step prints", flush=True)
    helpers = psutil.Process().children()
print(open("output").read().count("what a step prints"), helpers, flush=True)
"""


def test_what_a_run_prints_goes_to_its_own_file_alone_without_processes_that_copy_it(tmp_path: Path) -> None:
    assert runs_of(tmp_path, "api", "grpc", run=OUTPUT) == [["1", "[]"], ["2", "[]"]]


def test_other_programs_start_processes_as_before(tmp_path: Path) -> None:
    assert [each[1:] for each in runs_of(tmp_path, "asset", "materialize")] == [
        ["False", "10", "False"],
        ["False", "20", "False"],
    ]


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
