"""A PostgreSQL that says one thing to whoever connects: servers that cannot be had for a test.

Belongs here: as much of the wire protocol as a refusal needs (PostgreSQL documentation, Message Formats). Does not
belong here: queries.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


def refusal(state: str, message: str, severity: str = "FATAL") -> bytes:
    """A server that refuses the connection with these words."""
    fields = {"S": severity, "V": "FATAL", "C": state, "M": message}
    body = b"".join(name.encode() + text.encode() + b"\0" for name, text in fields.items()) + b"\0"
    return _message(b"E", body)


def greeting(**parameters: str) -> bytes:
    """A server that lets one in and says this of itself."""
    told = b"".join(_message(b"S", f"{name}\0{value}\0".encode()) for name, value in parameters.items())
    return _message(b"R", struct.pack("!i", 0)) + told + _message(b"Z", b"I")


@contextmanager
def serving(answer: bytes) -> Iterator[int]:
    """Give everybody who connects this answer; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rwb", buffering=0) as stream:
            while True:
                head = stream.read(8)
                if len(head) < 8:
                    break
                length, code = struct.unpack("!ii", head)
                stream.read(length - 8)
                if code not in (_SSL_REQUEST, _GSS_REQUEST):
                    stream.write(answer)
                    stream.read(1)
                    break
                stream.write(b"N")


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
