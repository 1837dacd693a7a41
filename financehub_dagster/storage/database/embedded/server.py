"""The lifetime of the embedded server: it runs from its first user to its last.

Each process that calls `ensure_running` holds the server until it ends or calls `release`; the last one to leave stops
it. Holders that were killed do not count. All decisions are taken under one inter-process lock per home folder.
"""

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from financehub_dagster.storage.database.embedded import cluster, holders
from financehub_dagster.storage.database.errors import DatabaseError, EmbeddedFailed

LOCK_SECONDS = cluster.START_SECONDS + 60


@dataclass(frozen=True)
class ServerStatus:
    """What `status` found: pid is None when nothing runs; holders are the pids of the processes that use the server."""

    pid: int | None
    holders: tuple[int, ...]

    @property
    def running(self) -> bool:
        """Whether a server runs on the data folder."""
        return self.pid is not None


_held: dict[Path, cluster.EmbeddedServer] = {}
_in_process = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A forked child is a process of its own: it has to register itself.
    os.register_at_fork(before=_in_process.acquire, after_in_parent=_in_process.release, after_in_child=_held.clear)
    os.register_at_fork(after_in_child=_in_process.release)


def data_folder(home: Path) -> Path:
    """Where the server of `home` keeps its data."""
    return home / "postgres"


def ensure_running(home: Path) -> cluster.EmbeddedServer:
    """Start the server of `home` unless it runs, and hold it until this process ends; raises DatabaseError."""
    home = home.resolve()
    with _in_process:
        held = _held.get(home)
        if held is not None and held.is_alive():
            return held
        with _locked(home):
            data = data_folder(home)
            server = cluster.find(data) or cluster.start(data)
            if held is None:
                holders.add(_holders_folder(home))
        if not _held:
            atexit.register(release)
        _held[home] = server
        return server


def release(home: Path | None = None) -> None:
    """Let go of the server of `home`, or of all this process holds; stops each server that nobody else holds."""
    with _in_process:
        for held in [path for path in _held if home is None or path == home.resolve()]:
            del _held[held]
            if held.is_dir():
                with _locked(held):
                    holders.remove(_holders_folder(held))
                    if not holders.live(_holders_folder(held)):
                        _stop_found(held)
        if not _held:
            atexit.unregister(release)


def stop(home: Path) -> bool:
    """Stop the server of `home`, whoever uses it; returns whether one ran."""
    home = home.resolve()
    if not data_folder(home).is_dir():
        return False
    with _in_process, _locked(home):
        if _held.pop(home, None) is not None:
            holders.remove(_holders_folder(home))
        return _stop_found(home)


def status(home: Path) -> ServerStatus:
    """Whether the server of `home` runs and who holds it; changes nothing that is in use."""
    home = home.resolve()
    if not data_folder(home).is_dir():
        return ServerStatus(None, ())
    with _in_process, _locked(home):
        found = cluster.find(data_folder(home))
        return ServerStatus(None if found is None else found.pid, tuple(holders.live(_holders_folder(home))))


def _stop_found(home: Path) -> bool:
    found = cluster.find(data_folder(home))
    if found is None:
        return False
    cluster.stop(data_folder(home), found)
    return True


def _holders_folder(home: Path) -> Path:
    return home / "run" / "holders"


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold the lock of `home` between processes; a crashed holder's lock is freed by the system."""
    try:
        (home / "run").mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(home / "run" / "server.lock", timeout=LOCK_SECONDS)
        with lock:
            yield
    except filelock.Timeout:
        raise EmbeddedFailed(
            f"another process has been starting or stopping the database of {home} for {LOCK_SECONDS} s: end it"
        ) from None
    except DatabaseError:
        raise
    except OSError as error:
        raise EmbeddedFailed(
            f"the folder {error.filename or home} cannot be used: {error.strerror}; free it or set FINANCEHUB_HOME"
        ) from None
