"""Connections over `requests` that are there in time or not at all: looking up the name and every address included.

Belongs here: making a connection within the time for it. Does not belong here: what is sent over it (deadline) and what
a failure means (the session). urllib3 gives each address of a name the whole time, and looking up the name any time: a
name server that does not answer takes the system's resolver up to a minute.
"""

import queue
import socket
import time
from threading import Thread
from typing import override

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

SHORTEST = 0.01
"""Seconds that a socket is given when no time is left: it takes what is there already."""


class Connecting(HTTPConnection):
    """Looks up the name and tries its addresses one after the other, all within the time to connect."""

    @override
    def _new_conn(self) -> socket.socket:
        name, patience = self._dns_host, self.timeout
        if not isinstance(patience, int | float):
            return super()._new_conn()
        end = time.monotonic() + patience
        try:
            addresses = _look_up(name, self.port, patience)
        except OSError as error:
            raise NameResolutionError(name, self, socket.gaierror(*error.args)) from error
        try:
            return self._first_of(addresses, end)
        finally:
            self._dns_host, self.timeout = name, patience

    def _first_of(self, addresses: list[str], end: float) -> socket.socket:
        """Each address has an even share of the time that is left."""
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            self._dns_host, self.timeout = address, max((end - time.monotonic()) / untried, SHORTEST)
            try:
                return super()._new_conn()
            except (ConnectTimeoutError, NewConnectionError):
                if untried == 1:
                    raise
        raise AssertionError("a name has an address")


def _look_up(name: str, port: int, seconds: float) -> list[str]:
    """The addresses of `name`, in the order to try them; raises OSError when there are none in time."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(name.strip("[]"), port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))
        except (OSError, UnicodeError) as error:  # a name that cannot be one
            answers.put(error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error)))

    # The resolver knows no deadline: a thread that waits for it in vain must not keep the process from ending.
    Thread(target=ask, name=f"look up {name}", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer
