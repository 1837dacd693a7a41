"""Which process did something: its pid, and when it started, which tells it from a later owner of the same pid.

Belongs here: writing a process's identity down and asking whether it still runs. Does not belong here: ending one.
"""

import json
import os
import socket
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil


def start_of(pid: int) -> str:
    """What tells a running process from others with the same pid; raises psutil.NoSuchProcess when there is none.

    It stays the same when the clock is set, unlike the time at which the process started.
    """
    return f"{machine()} {_since_boot(pid)}"


def is_alive(pid: int, start: str) -> bool:
    """Whether the process that had `pid` and `start` still runs on this machine."""
    try:
        return start_of(pid) == start and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def since(pid: int, start: str) -> datetime | None:
    """When such a process started (UTC), by the clock as it is set now; None when it has ended."""
    try:
        return datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC) if is_alive(pid, start) else None
    except psutil.NoSuchProcess:
        return None


def is_of_this_boot(start: str) -> bool:
    """Whether a process with this `start` has run on this machine since it was booted, or in this container."""
    return start.startswith(f"{machine()} ")


@cache
def machine() -> str:
    """What tells the machine, or container, apart in which this process sees others; another one after each boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{uuid.getnode():x}"
    with suppress(OSError):
        boot += f" {Path('/proc/self/ns/pid').readlink()}"
    return boot


def identity() -> str:
    """This process as text, for `is_gone` on any machine."""
    pid = os.getpid()
    found = {"host": socket.gethostname(), "machine": machine(), "pid": pid, "started": _since_boot(pid)}
    return json.dumps(found)


def is_gone(text: str) -> bool:
    """Whether the process of an `identity` has ended; one of another machine counts as running, for nobody can tell."""
    process = json.loads(text)
    here = process["host"] == socket.gethostname() and process.get("machine", machine()) == machine()
    return here and not _is_there(process["pid"], process["started"])


def _is_there(pid: int, started: float) -> bool:
    try:
        return _since_boot(pid) == started and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return _is_hidden(pid)


def _is_hidden(pid: int) -> bool:
    """Whether it is another user's process on a machine that shows each user its own ones only (hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        pass
    return False


def _since_boot(pid: int) -> float:
    """When a process started, in a number that stays the same when the clock is set; raises psutil.Error."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        # proc_pid_stat(5): the twentieth field after the name, which stands in brackets and may hold any character.
        return float(stat.read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return psutil.Process(pid).create_time()
