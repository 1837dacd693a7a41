"""What the supervisor of a home writes down for other commands: who it is, where it answers, what it started.

Belongs here: the state file and the lock. Does not belong here: starting or ending processes.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.supervisor.processes import Leader
from financehub_dagster.storage import whole_files

REMEMBERED = 20
"""Restarts that the state file keeps, the latest ones."""


@dataclass(frozen=True)
class Restart:
    """A part that was started again: when (ISO 8601, UTC) and why."""

    name: str
    at: str
    why: str


@dataclass(frozen=True)
class State:
    """The supervisor, its children and their addresses; urls maps a service to the address it answers at.

    revision: the newest that the program knew when the platform was started; empty where a first version did not say.
    """

    supervisor: Leader
    urls: dict[str, str]
    revision: str = ""
    children: tuple[Leader, ...] = ()
    restarts: tuple[Restart, ...] = ()

    def with_restart(self, name: str, why: str) -> "State":
        """The same, and one restart more: now, of `name`."""
        restart = Restart(name, datetime.now(UTC).isoformat(timespec="seconds"), why)
        return replace(self, restarts=(*self.restarts, restart)[-REMEMBERED:])

    def write(self, path: Path) -> None:
        """Replace the state file in one step, so that no reader sees half of it."""
        whole_files.replace(path, json.dumps(asdict(self), indent=2))

    @classmethod
    def read(cls, path: Path) -> "State | None":
        """The last supervisor's state, whether or not it still runs; None when there never was one."""
        if not path.exists():
            return None
        try:
            data: dict[str, Any] = json.loads(path.read_text())
            children = tuple(Leader.read(child) for child in data["children"])
            restarts = tuple(Restart(**restart) for restart in data.get("restarts", ()))
            revision = str(data.get("revision", ""))
            return cls(Leader.read(data["supervisor"]), dict(data["urls"]), revision, children, restarts)
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{path}: unreadable ({error}); remove it when nothing runs in this home") from None


def running(home: Home) -> State | None:
    """The state of the supervisor that runs in this home now; None when none does."""
    state = State.read(home.state_file)
    return state if state is not None and state.supervisor.alive() else None


def running_here(folder: Path) -> list[tuple[Home, State]]:
    """The homes in `folder` in which a supervisor runs now, wherever its `.env` leads."""
    found = []
    for path in sorted((folder / ".financehub").glob("*/supervisor.json")):
        home = Home(path.parent, path.parent / "dagster")
        state = running(home)
        if state is not None:
            found.append((home, state))
    return found


@contextmanager
def sole_supervisor(home: Home) -> Iterator[None]:
    """Hold the home's lock; raises CommandError naming the process that holds it. A killed holder holds nothing."""
    from filelock import FileLock, Timeout

    lock = FileLock(home.lock_file)
    with home.writing():
        home.path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # an OSError too
            raise CommandError(_taken(home)) from None
    try:
        yield
    finally:
        lock.release()


def _taken(home: Home) -> str:
    state = running(home)
    if state is None:
        return f"{home.path}: another financehub command is starting or stopping here; try again in a moment"
    where = f" at {state.urls['webserver']}" if "webserver" in state.urls else ""
    return f"{home.path}: already running{where} (process {state.supervisor.pid}); `financehub down` stops it"


def myself() -> Leader:
    """This process as a supervisor."""
    return Leader.of("supervisor", os.getpid())
