"""Sessions of real processes: everything a child started ends with it, and nothing else does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from financehub_dagster.cli.supervisor.processes import Leader, end_sessions, members, spawn
from financehub_dagster.storage.database.processes import since

# Starts a child that ignores SIGTERM when asked to, tells both pids, and waits.
PARENT = """
import subprocess, sys, time
code = "import signal,sys,time; {ignore}; print('ready', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


class Family:
    """A leader and its child, in a session of their own."""

    def __init__(self, folder: Path, ignore: str = "pass") -> None:
        log = folder / "log"
        self.process = spawn([sys.executable, "-c", PARENT.format(ignore=ignore)], os.environ, folder, log)
        self.leader = Leader.of("family", self.process.pid)
        while not log.read_text().strip():
            os.sched_yield()
        self.child = psutil.Process(int(log.read_text()))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def family(tmp_path):
    family = Family(tmp_path)
    yield family
    end_sessions([family.leader], grace=0.0)
    family.process.wait()


def test_ending_a_session_ends_children_too(family):
    assert end_sessions([family.leader]) == []
    assert family.process.wait() == -signal.SIGTERM
    assert gone(family.child)


def test_children_are_found_after_their_parent_was_killed(family):
    family.process.kill()
    family.process.wait()
    assert not family.leader.alive()
    assert [p.pid for p in members([family.leader])] == [family.child.pid]
    end_sessions([family.leader])
    assert gone(family.child)


def test_what_does_not_listen_is_killed_and_named(tmp_path):
    family = Family(tmp_path, STUBBORN)
    assert end_sessions([family.leader], grace=0.3) == ["family"]
    family.process.wait()
    family.child.wait(5)
    assert gone(family.child)


def test_a_later_process_with_the_same_pid_is_left_alone(family):
    stale = Leader("family", family.leader.pid, f"{family.leader.start}0")
    assert not stale.alive()
    assert members([stale]) == []
    assert end_sessions([stale]) == []
    assert family.leader.alive()


def test_processes_from_before_the_machine_started_are_never_ours(family):
    family.process.kill()
    family.process.wait()
    assert members([family.leader]) != []
    assert members([Leader("old", family.leader.pid, f"another-{family.leader.start}")]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="start times are those of Linux")
@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_process_is_known_and_ended_after_the_clock_was_set(family, monkeypatch, step):
    """The system derives start times from the clock and the time since boot: all of them move with the clock."""
    before = since(family.leader.pid, family.leader.start)
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot + step)
    after = since(family.leader.pid, family.leader.start)
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() == pytest.approx(step, abs=0.1)
    assert family.leader.alive()
    assert end_sessions([family.leader]) == []
    assert family.process.wait() == -signal.SIGTERM
    assert gone(family.child)


def test_the_guard_ends_what_a_killed_supervisor_left(tmp_path):
    supervisor = """
import json, os, subprocess, sys, time
from dataclasses import asdict
from pathlib import Path
from financehub_dagster.cli.supervisor.processes import Leader, spawn
folder, log = Path(sys.argv[1]), Path(sys.argv[1], "log")
command = [sys.executable, "-m", "financehub_dagster.cli.supervisor.guard", str(folder)]
guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
children = [spawn([sys.executable, "-c", sys.argv[2]], os.environ, folder, log) for _ in range(2)]
for child in children:
    guard.stdin.write(json.dumps(asdict(Leader.of("child", child.pid))) + "\\n")
guard.stdin.flush()
while len(grandchildren := log.read_text().split()) < 2:
    os.sched_yield()
print(guard.pid, *(child.pid for child in children), *grandchildren, flush=True)
time.sleep(600)
"""
    argv = [sys.executable, "-c", supervisor, str(tmp_path), PARENT.format(ignore="pass")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        guard, *children = (psutil.Process(int(pid)) for pid in main.stdout.readline().split())
        assert len(children) == 4
        assert not any(gone(child) for child in children)
        main.kill()
    psutil.wait_procs([guard, *children], timeout=15)
    assert all(gone(child) for child in children)
    assert gone(guard)
