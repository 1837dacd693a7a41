"""Ports on the loopback interface: which are free, which answer, and which a home keeps for itself.

Belongs here: sockets. Does not belong here: who listens.
"""

import json
import socket
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


def remembered(book: Path, name: str) -> int:
    """The port that `name` had last time if it is free, otherwise a new one; kept in the JSON file `book`."""
    known: dict[str, int] = json.loads(book.read_text()) if book.exists() else {}
    port = known.get(name)
    if port is None or not is_free(port):
        port = pick_free()
        whole_files.replace(book, json.dumps(known | {name: port}))
    return port
