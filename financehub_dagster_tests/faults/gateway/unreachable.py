"""An address on this machine where connections are neither accepted nor refused.

Belongs here: that address. Does not belong here: vendors that answer wrongly (the sandbox).
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

FILLS = 4
"""Connections that fill a queue of length 0: the kernel keeps one or two and drops what comes after them."""


@contextmanager
def unreachable_address(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """http://host:port, whose queue of connections is full: to connect takes until one's patience ends."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(FILLS):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://{host}:{listener.getsockname()[1]}"
