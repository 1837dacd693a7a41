"""The HTTP server: is the platform alive, is it healthy, its metrics, and the doors to its tables.

Belongs here: routes and status codes. Does not belong here: what they show (operations, rows, udf, openbb), and who may
see it (guard).
"""

import asyncio
import errno
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from financehub_dagster.operations.health import Health, check
from financehub_dagster.operations.metrics import render
from financehub_dagster.operations.watch import Watcher
from financehub_dagster.serving import guard, openbb, rows, udf
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.pieces import IS_HEAD, Kept
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.errors import DatabaseError

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
DEFAULT_PORT = 8710
FRESH_SECONDS = 3.0
"""Requests within this time get the same answer: many who ask cost no more than one."""
STATUSES: dict[type[Exception], int] = {ReadError: 400, rows.TooManyRows: 413, DatabaseError: 503}
"""The status of an answer that tells an error; of a kind within another one its own."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PortTaken(Exception):
    """Another program listens on the port; the message has the remedy."""


class _Shared[T]:
    """The result of `work`, made once for all who ask within FRESH_SECONDS."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._made: tuple[float, T] | None = None

    def get(self) -> T:
        with self._turn:
            if self._made is None or time.monotonic() - self._made[0] > FRESH_SECONDS:
                self._made = (time.monotonic(), self._work())
            return self._made[1]


class HeadAsGet:
    """An ASGI application that answers HEAD as GET; the server leaves the body out, and the headers are GET's."""

    def __init__(self, app: guard.App) -> None:
        self._app = app

    async def __call__(self, scope: guard.Message, receive: guard.Receive, send: guard.Send) -> None:
        """Answer one request."""
        is_head = scope.get("method") == "HEAD"
        await self._app({**scope, "method": "GET", IS_HEAD: True} if is_head else scope, receive, send)


def create_app(*, looks: bool = True, origins: Sequence[str] = ()) -> FastAPI:
    """The application. looks: whether it also looks at the platform every minute, as the daemon's sensor does.

    origins: the web sites whose pages may read from it.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher = Watcher()
        if looks:
            watcher.start()
        yield
        watcher.stop()

    app = FastAPI(title="FinanceHub", docs_url=None, redoc_url=None, lifespan=lifespan)
    health: _Shared[Health] = _Shared(check)
    metrics: _Shared[bytes] = _Shared(render)

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        """Answer: this process works."""
        return {"status": "ok"}

    @app.get("/health")
    def get_health(response: Response) -> dict[str, Any]:
        """Check every component: 200, or 503 when the platform is unhealthy."""
        found = health.get()
        response.status_code = 503 if found.status == "failed" else 200
        return found.as_dict()

    @app.get("/metrics")
    def get_metrics() -> Response:
        """Everything in Prometheus' text format."""
        return Response(metrics.get(), media_type=METRICS_TYPE)

    app.state.turns = asyncio.Semaphore(rows.READERS)
    app.state.kept = Kept()
    app.add_middleware(HeadAsGet)
    if origins:
        # Browsers ask besides whether a page of a public site may read from a private address, which loopback is.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "HEAD"],
            allow_headers=["Authorization", "Range", "If-Match", "If-Range"],
            expose_headers=[rows.NOTE, "Content-Range", "ETag"],
            allow_private_network=True,
        )
    app.include_router(rows.router)
    app.include_router(udf.router)
    app.include_router(openbb.router)
    for kind, status in STATUSES.items():
        app.add_exception_handler(kind, partial(_told, status))
    return app


def _told(status: int, _request: Request, error: Exception) -> JSONResponse:
    """An error in one line."""
    return JSONResponse({"error": str(error)}, status)


def bind(port: int, host: str = HOST) -> socket.socket:
    """A socket that listens at `host`; raises PortTaken. Port 0 takes a free one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise PortTaken(f"--host {host} is no address of this machine") from None
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise PortTaken(f"--host {host} is no address of this machine") from None
        raise PortTaken(f"port {port} is taken: stop what listens there, or choose another one with --port") from None
    return bound


def serve(port: int = DEFAULT_PORT, announce: Callable[[str], None] = lambda _url: None, *, host: str = HOST) -> None:
    """Serve until interrupted; `announce` is told the address. Raises PortTaken and Unguarded."""
    settings = get_settings()
    tokens = settings.serve_tokens()
    guard.require_guard(host, tokens, behind_proxy=settings.financehub_behind_proxy)
    bound = bind(port, host)
    shown = f"[{host}]" if ":" in host else host
    announce(f"http://{shown}:{bound.getsockname()[1]}")
    own_names = not (tokens or settings.financehub_behind_proxy)
    app = create_app(origins=settings.serve_origins())
    # uvicorn shuts down in order and then raises the interrupt again for its caller.
    with suppress(KeyboardInterrupt):
        asked_from_pages = bool(settings.serve_origins())
    server(guard.Guard(app, tokens, own_names=own_names, preflights=asked_from_pages)).run(sockets=[bound])


def server(app: guard.App) -> "uvicorn.Server":
    """A server of `app` with our limits; h11, since only it bounds a request's head."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=guard.CONNECTIONS,
        h11_max_incomplete_event_size=guard.LARGEST_HEAD,
    )
    return uvicorn.Server(config)
