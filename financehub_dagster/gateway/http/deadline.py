"""Answers over `requests` that end by a deadline, however slowly their bytes come: those of the headers, too.

Belongs here: the transport that reads under the deadline of its thread's try. Does not belong here: what a timeout
means (the session). A timeout of `requests` is per read: a vendor that sends a byte now and then would never meet it.
"""

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, override

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from financehub_dagster.gateway.http.connections import SHORTEST, Connecting

_deadline: ContextVar[float] = ContextVar("financehub_deadline")


@contextmanager
def by(deadline: float) -> Iterator[None]:
    """Read answers of this thread until `deadline` at the latest, in seconds of time.monotonic."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


class _Reads(io.RawIOBase):
    """A socket's bytes, each read with the time that is left."""

    def __init__(self, connection: socket.socket, inner: io.RawIOBase) -> None:
        self._connection = connection
        self._inner = inner
        self._deadline = _deadline.get(None)

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            self._connection.settimeout(max(self._deadline - time.monotonic(), SHORTEST))
        return self._inner.readinto(buffer)

    @override
    def close(self) -> None:
        self._inner.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Reads(sock, self.fp.detach()))


class _Plain(Connecting):
    response_class = _Response


class _Encrypted(Connecting, HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted


class DeadlineAdapter(HTTPAdapter):
    """The usual transport of `requests`, with answers that end by the deadline of `by`."""

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_our_pools(self.poolmanager)

    @override
    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(*args, **kwargs)
        _use_our_pools(manager)
        return manager


def _use_our_pools(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _EncryptedPool}
