"""A vendor that begins its answer at once and never ends: one byte of the headers after the other.

Belongs here: that server. Does not belong here: answers whose headers are whole (the sandbox).
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Padding: " + b"." * 10_000

PAUSE = 0.1


@contextmanager
def dribbling_vendor() -> Iterator[str]:
    """http://127.0.0.1:port, where every connection gets one byte every PAUSE seconds."""
    over = threading.Event()

    def dribble(connection: socket.socket) -> None:
        with connection:
            for byte in HEADERS:
                if over.wait(PAUSE):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=dribble, args=(connection,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            accepting.join()
            for thread in threads:
                thread.join()
