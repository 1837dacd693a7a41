"""Ports on the loopback interface: which are free, which answer, and which a home keeps for itself.

Belongs here: sockets and reservations. Does not belong here: who listens.
"""

import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from financehub_dagster.storage import whole_files

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int, timeout: float = 0.5) -> bool:
    """Whether something accepts connections on `port`."""
    try:
        with socket.create_connection((HOST, port), timeout=timeout):
            return True
    except OSError:
        return False


def pick_free() -> int:
    """A port nobody listens on, chosen by the operating system."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def reserve(port: int) -> bool:
    """Keep `port` for a server of this process, from now to its end; False where it is taken or kept by another.

    A platform chooses a port many seconds before its server listens there: others of this user choose another one.
    """
    file = _reservations()
    if file is None:
        return is_free(port)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    if not is_free(port):
        fcntl.lockf(file, fcntl.LOCK_UN, 1, port)
        return False
    return True


@cache
def _reservations() -> int | None:
    """A file whose n-th byte is locked by the process that keeps port n, until that ends; None where none can be."""
    path = Path(tempfile.gettempdir()) / f"financehub-{os.geteuid()}-ports.lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 0)  # not every file system has locks
    except OSError:
        return None
    return file


def remembered(book: Path, name: str, usable: Callable[[int], bool] = is_free) -> int:
    """The port that `name` had last time if it is `usable`, otherwise a new one; kept in the JSON file `book`."""
    known: dict[str, int] = json.loads(book.read_text()) if book.exists() else {}
    port = known.get(name)
    while port is None or not usable(port):
        port = pick_free()
    if port != known.get(name):
        whole_files.replace(book, json.dumps(known | {name: port}))
    return port
