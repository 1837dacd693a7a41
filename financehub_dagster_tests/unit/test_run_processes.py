"""A code server forks its runs from a process that has loaded what they need."""

import os
import subprocess
import sys
from pathlib import Path

from financehub_dagster_tests.fixtures.folder import REPOSITORY

CODE_SERVER = """
import multiprocessing, pathlib, sys
sys.argv = ["dagster", *sys.argv[1:]]
import financehub_dagster.definitions
context = multiprocessing.get_context("spawn")
for days in (10, 20):
    pathlib.Path(".env").write_text(f"FINANCEHUB_MINUTES_DAYS={days}")
    run = context.Process(target=exec, args=[RUN])
    run.start()
    run.join()
"""
RUN = """
import os, sys
loaded = "financehub_dagster.ingest.derived" in sys.modules
from financehub_dagster.settings import get_settings
print(os.getppid(), loaded, get_settings().financehub_minutes_days, flush=True)
"""


def runs_of(folder: Path, *program: str) -> list[list[str]]:
    """What two runs print: the parent, whether what they need was loaded, and a setting that changes in between."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FINANCEHUB_")}
    command = [sys.executable, "-c", f"RUN = {RUN!r}\n{CODE_SERVER}", *program]
    environment["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_runs_are_forked_with_everything_loaded_and_read_the_settings_anew(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, "api", "grpc")
    assert first == [first[0], "True", "10"]
    assert second == [first[0], "True", "20"], "both from one process"


def test_other_programs_start_processes_as_before(tmp_path: Path) -> None:
    assert [each[1:] for each in runs_of(tmp_path, "asset", "materialize")] == [["False", "10"], ["False", "20"]]


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
