"""Processes that live in sessions of their own, and ending a session completely.

Belongs here: spawning, and terminating everything a process has started. Does not belong here: what the processes are.
Each child leads a session: its descendants stay in it when their parent dies, so that all of them can be found.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from financehub_dagster.storage.database.processes import is_alive, is_of_this_boot, start_of

POLL_SECONDS = 0.05
GRACE_SECONDS = 30.0
"""A daemon ends after the tick it is in, which takes a while on a busy machine."""
KILL_SECONDS = 10.0
"""A process that was killed is gone at once, but on a machine that is too busy to see to it."""
MAX_LOG_BYTES = 10_000_000
"""A log larger than this is set aside, and the one before it deleted."""


@dataclass(frozen=True)
class Leader:
    """The first process of a session; `start` tells it from other owners of the same pid, and no clock moves it.

    Empty where it was not written down: such a process counts as ended.
    """

    name: str
    pid: int
    start: str

    @classmethod
    def of(cls, name: str, pid: int) -> "Leader":
        """Describe a running process; raises psutil.NoSuchProcess when it is gone already."""
        return cls(name, pid, start_of(pid))

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Leader":
        """The one that was written down as these fields; raises KeyError and ValueError."""
        return cls(str(data["name"]), int(data["pid"]), str(data.get("start", "")))

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return is_alive(self.pid, self.start)

    def stopped(self) -> bool:
        """Whether a signal has stopped it (SIGSTOP), so that it waits for SIGCONT."""
        return self.alive() and is_stopped(self.pid)

    def owns_session(self) -> bool:
        """Whether the session of our number can be ours still: a number is not reused while its session has members."""
        if not is_of_this_boot(self.start):
            return False
        return self.alive() or not psutil.pid_exists(self.pid) or _is_zombie(self.pid)


def spawn(argv: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a process as the leader of a session of its own, its output appended to `log` (the one before kept)."""
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def rotate(log: Path) -> None:
    """Keep a log below MAX_LOG_BYTES while its process writes to it: what it holds goes to the file before it.

    The process appends, so it goes on at the beginning of the emptied file. A line that it writes between copying and
    emptying is lost.
    """
    try:
        if log.stat().st_size <= MAX_LOG_BYTES:
            return
        shutil.copyfile(log, log.with_suffix(".old.log"))
        os.truncate(log, 0)
    except FileNotFoundError:
        return


def last_line(log: Path) -> str:
    """The last line of a log file that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def members(leaders: Iterable[Leader]) -> list[psutil.Process]:
    """Every running process of these sessions, whether or not its leader still lives."""
    sessions = {leader.pid for leader in leaders if leader.owns_session()}
    if not sessions:
        return []
    return [p for p in psutil.process_iter() if _session(p.pid) in sessions and not _is_zombie(p.pid)]


def end_sessions(leaders: Sequence[Leader], grace: float = GRACE_SECONDS) -> list[str]:
    """Ask all processes of the sessions to end, kill those left after `grace` seconds; returns whose were killed."""
    for process in members(leaders):
        ask_to_end(process)
    if _all_gone(leaders, grace):
        return []
    names = {leader.pid: leader.name for leader in leaders}
    left = members(leaders)
    killed = {names[number] for process in left if (number := _session(process.pid)) is not None}
    for process in left:
        _signal(process, signal.SIGKILL)
    # On a busy machine a killed process lives on for a while, and what it holds counts as in use.
    _all_gone(leaders, KILL_SECONDS)
    return sorted(killed)


def ask_to_end(process: psutil.Process) -> None:
    """SIGTERM, which a stopped process sees only when it goes on."""
    _signal(process, signal.SIGTERM)
    _signal(process, signal.SIGCONT)


def any_stopped(leader: Leader) -> bool:
    """Whether some process of the session is stopped."""
    return any(is_stopped(process.pid) for process in members([leader]))


def let_go_on(pid: int) -> bool:
    """Continue a process and its descendants if some of them are stopped; returns whether."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    stopped = [process for process in family if is_stopped(process.pid)]
    for process in stopped:
        _signal(process, signal.SIGCONT)
    return bool(stopped)


def _all_gone(leaders: Sequence[Leader], patience: float) -> bool:
    """Wait up to `patience` seconds for the sessions to be empty, and say whether they are."""
    deadline = time.monotonic() + patience
    while members(leaders):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _session(pid: int) -> int | None:
    """The session of a process; None when it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _is_zombie(pid: int) -> bool:
    return _status(pid) == psutil.STATUS_ZOMBIE


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped the process (SIGSTOP), so that it waits for SIGCONT."""
    return _status(pid) == psutil.STATUS_STOPPED


def _status(pid: int) -> str | None:
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return None


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
