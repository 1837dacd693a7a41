"""The sandbox server: every vendor below a path of its own, the control endpoint beside them.

Belongs here: joining the parts and serving them. Does not belong here: anything of one vendor; a new one is a new
file and one name in `VENDORS`.
"""

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Router
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from financehub_dagster.sandbox.calls import Call, fingerprint
from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.faults.control import Control
from financehub_dagster.sandbox.faults.distortions import asking_for
from financehub_dagster.sandbox.faults.faults import TRANSPORT, Fault, Wire
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.vendors.alpha_vantage.routes import AlphaVantage
from financehub_dagster.sandbox.vendors.binance.routes import Binance
from financehub_dagster.sandbox.vendors.coingecko import CoinGecko
from financehub_dagster.sandbox.vendors.coinmarketcap import CoinMarketCap
from financehub_dagster.sandbox.vendors.finnhub import Finnhub
from financehub_dagster.sandbox.vendors.newsapi import NewsApi
from financehub_dagster.sandbox.vendors.twelve_data import TwelveData
from financehub_dagster.sandbox.vendors.vendor import QUIRK, Identity, Vendor, path_of
from financehub_dagster.sandbox.vendors.yahoo.routes import Yahoo

DEFAULT_PORT = 8765
VENDORS: tuple[Callable[[Market], Vendor], ...] = (
    Yahoo, Binance, AlphaVantage, CoinGecko, CoinMarketCap, Finnhub, TwelveData, NewsApi,
)  # fmt: skip

_NOT_PLAYED = PlainTextResponse("The sandbox does not play this endpoint.", 501)


def build_app(market: Market | None = None, latency_ms: float = 0.0) -> Starlette:
    """The whole sandbox as an ASGI application over `market` (default: the default universe on the real clock)."""
    market = Market() if market is None else market
    control = Control(market, [vendor(market) for vendor in VENDORS], latency_ms / 1000)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        market.warm_up()
        yield

    mounts = [Mount(f"/{path_of(name)}", _Gate(vendor, control)) for name, vendor in control.vendors.items()]
    return Starlette(routes=[Mount("/_control", Router(control.routes)), *mounts], lifespan=lifespan)


def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    latency_ms: float = 0.0,
    announce: Callable[[str], None] = print,
    until_stdin_closes: bool = False,
) -> None:
    """Serve until interrupted; port 0 takes a free one.

    `announce` gets the address (http://host:port) once it answers. With `until_stdin_closes` the server ends when its
    standard input does, which is how it follows a parent that dies. Raises SandboxError where the port cannot be had.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise SandboxError(
            f"port {port} on {host} cannot be used ({os.strerror(error.errno or 0)}); choose another one"
        ) from None
    # Connections inherit it. asyncio does not set it on this socket, and without it every answer after a connection's
    # first waits some 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"http://{host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        build_app(latency_ms=latency_ms),
        loop="asyncio",
        http=_Protocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,  # the market's clock is the vendors'
        # Longer than any client keeps an idle connection: the server must not close one that is about to be used.
        timeout_keep_alive=300,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, lambda: announce(address))
    if until_stdin_closes:
        threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
    # uvicorn shuts down in order and then raises the interrupt again for its caller.
    with listener, suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Tells when it has started."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()


class _Protocol(H11Protocol):
    """HTTP that leaves the connection's transport in the scope, so that a fault can cut the connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[TRANSPORT] = self.transport
            await inner(scope, receive, send)

        self.app = app


class _Gate:
    """Stands before one vendor: counts, spoils, refuses, delays, and only then lets it answer."""

    def __init__(self, vendor: Vendor, control: Control) -> None:
        self._vendor = vendor
        self._router = Router(vendor.routes, redirect_slashes=False, default=_NOT_PLAYED)
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        at = time.time()
        request = Request(scope, receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        identity = self._vendor.identify(request)
        fault = self._control.faults.take(self._vendor.name, path, identity.symbols)
        response = self._vendor.admit(identity, at)
        if fault is not None and fault.kind in ("status", "error"):
            response = self._refusal(fault, identity, at)
        if response is None:
            asked = scope
            if fault is not None and fault.kind == "wrong_symbol":
                asked = asking_for(scope, self._control.market.listed.swaps(identity.symbols, self._vendor.spelling))
            if fault is not None and fault.quirk is not None:
                asked = {**scope, QUIRK: fault.quirk}
            response = await self._answer(asked, receive)
        response.headers.update(self._vendor.headers(identity, at))
        response.headers["date"] = formatdate(self._control.market.now(), usegmt=True)
        self._control.journal.add(
            Call(
                at=at,
                vendor=self._vendor.name,
                path=path,
                symbols=identity.symbols,
                key=fingerprint(identity.key),
                weight=identity.weight,
                status=response.status_code,
                fault=None if fault is None else fault.kind,
            )
        )
        if self._control.latency:
            await asyncio.sleep(self._control.latency)
        wire = Wire(scope, receive, send)
        await (wire.answer(response) if fault is None else wire.play(fault, response))

    def _refusal(self, fault: Fault, identity: Identity, at: float) -> Response:
        if fault.situation is not None:
            response = self._vendor.situation(fault.situation, identity, at)
        else:
            response = self._vendor.refusal(fault.status, fault.retry_after)
        fault.finish(response, self._control.market.now())
        return response

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        """The vendor's answer, held back instead of sent."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._router(scope, receive, keep)
        response = Response(b"".join(each.get("body", b"") for each in messages[1:]), messages[0]["status"])
        response.raw_headers = list(messages[0]["headers"])
        return response


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True
