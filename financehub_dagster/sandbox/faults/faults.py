"""Faults on demand: which request is spoilt, and what that does on the wire.

Belongs here: matching faults to requests and playing them. Does not belong here: limits, which the vendors enforce by
themselves, and the words in which a vendor refuses.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from financehub_dagster.sandbox.faults.distortions import distorted
from financehub_dagster.sandbox.vendors.vendor import Quirk, Situation

Kind = Literal[
    "status", "error", "timeout", "reset", "slow", "trickle", "truncated", "garbage", "empty", "html",
    "wrong_symbol", "shuffled", "duplicated", "strings", "nan",
    "closing_bar", "extended_hours", "exchange_time", "microseconds", "null_rows",
    "bad_checksum", "corrupt_zip", "bulk_gap",
]  # fmt: skip

_HTML = b"<!doctype html><html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"
_GARBAGE = b'{"chart": \x00\xff\xfe not json'
_CHUNKS = 10
#: Key under which the server leaves the connection's transport in the ASGI scope.
TRANSPORT = "financehub.transport"


class Fault(BaseModel):
    """What to spoil: requests of `vendor`, whose path contains `path`, for `symbol`; each None matches any.

    status belongs to kind "status"; situation to "error", which in_200 puts under HTTP 200 whatever the vendor's own
    status; retry_after (seconds) to both, sent as seconds or, with retry_after_as, as an HTTP date. seconds is how long
    "timeout" keeps silent before it hangs up and "slow" takes for the whole answer. after skips that many matching
    requests first; times ends the fault after that many, None never.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    vendor: str | None = None
    path: str | None = None
    symbol: str | None = None
    status: int = Field(500, ge=400, le=599)
    situation: Situation | None = None
    in_200: bool = False
    retry_after: int | None = Field(None, ge=0)
    retry_after_as: Literal["seconds", "date"] = "seconds"
    seconds: float = Field(5.0, ge=0, le=3600)
    times: int | None = Field(None, ge=1)
    after: int = Field(0, ge=0)
    served: int = Field(0, description="Requests spoilt so far; set by the sandbox.")

    @property
    def quirk(self) -> Quirk | None:
        """What the vendor itself does differently; None where its answer is spoilt afterwards."""
        return next((each for each in get_args(Quirk) if each == self.kind), None)

    @model_validator(mode="after")
    def _situation_belongs_to_error(self) -> Self:
        if (self.kind == "error") != (self.situation is not None):
            raise ValueError("kind error needs a situation, and no other kind has one")
        return self

    def finish(self, response: Response, at: float) -> None:
        """Put the asked status and Retry-After on a refusal given at UTC epoch seconds `at`."""
        if self.in_200:
            response.status_code = 200
        if self.retry_after is not None:
            date = formatdate(at + self.retry_after, usegmt=True)
            response.headers["Retry-After"] = date if self.retry_after_as == "date" else str(self.retry_after)

    def concerns(self, vendor: str, path: str, symbols: tuple[str, ...]) -> bool:
        """Whether this request is one of those to spoil."""
        return (
            self.vendor in (None, vendor)
            and (self.path is None or self.path in path)
            and (self.symbol is None or self.symbol in symbols)
        )


class Faults:
    """The faults in force, the oldest first."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        self.active.append(fault)

    def reset(self) -> None:
        """All is well again."""
        self.active = []

    def take(self, vendor: str, path: str, symbols: tuple[str, ...]) -> Fault | None:
        """The fault to play on this request, counted as served."""
        for fault in self.active:
            if fault.times is not None and fault.served >= fault.times:
                continue
            if not fault.concerns(vendor, path, symbols):
                continue
            if fault.after:
                fault.after -= 1
                continue
            fault.served += 1
            return fault
        return None


@dataclass(frozen=True, slots=True)
class Wire:
    """One request's connection."""

    scope: Scope
    receive: Receive
    send: Send

    async def play(self, fault: Fault, response: Response) -> None:
        """Spoil `response`, which is what the vendor would have answered."""
        match fault.kind:
            case "timeout":
                await self._silence(fault.seconds)
            case "reset":
                await self._hang_up(reset=True)
            case "slow":
                size = max(1, -(-len(response.body) // _CHUNKS))
                await self._dribble(response, size, fault.seconds / _CHUNKS)
            case "trickle":
                await self._dribble(response, 1, 1.0)
            case "truncated":
                await self._cut_short(response)
            case "garbage":
                await self.answer(Response(_GARBAGE, 200, media_type=response.headers.get("content-type")))
            case "empty":
                await self.answer(Response(b"", 200, media_type=response.headers.get("content-type")))
            case "html":
                await self.answer(Response(_HTML, 200, media_type="text/html"))
            case "shuffled" | "duplicated" | "strings" | "nan":
                await self.answer(distorted(response, fault.kind))
            case _:  # a refusal or an answer of the vendor's own
                await self.answer(response)

    async def answer(self, response: Response) -> None:
        """Send `response` as it is."""
        await response(self.scope, self.receive, self.send)

    async def _silence(self, seconds: float) -> None:
        """Say nothing until the client gives up or `seconds` are over, then hang up."""
        try:
            async with asyncio.timeout(seconds):
                await self._client_gone()
        except TimeoutError:
            await self._hang_up(reset=False)

    async def _dribble(self, response: Response, size: int, pause: float) -> None:
        """Send `size` bytes after each `pause`, for as long as anybody listens."""
        await self._start(response)
        gone = asyncio.create_task(self._client_gone())
        for start in range(0, len(response.body), size):
            await asyncio.wait({gone}, timeout=pause)
            if gone.done():
                return
            chunk = bytes(response.body[start : start + size])
            await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        gone.cancel()
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _cut_short(self, response: Response) -> None:
        """Promise the whole length, send half of it and close."""
        await self._start(response)
        half = bytes(response.body[: len(response.body) // 2])
        await self.send({"type": "http.response.body", "body": half, "more_body": True})
        await self._hang_up(reset=False)

    async def _start(self, response: Response) -> None:
        await self.send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )

    async def _client_gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            continue

    async def _hang_up(self, *, reset: bool) -> None:
        transport: asyncio.Transport = self.scope[TRANSPORT]
        if reset:
            # Closing with a linger time of zero sends RST instead of FIN.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        await self._client_gone()
