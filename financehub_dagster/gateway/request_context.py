"""The piece of work that the requests of this thread belong to.

Belongs here: passing on, past a client library that knows nothing of it, for which instrument and under which client
a request is made, and counting the requests of a call and of a run. Does not belong here: sending them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from financehub_dagster.gateway.addresses import is_loopback
from financehub_dagster.gateway.errors import OverrideDown, Unreachable
from financehub_dagster.gateway.response import Reply

if TYPE_CHECKING:
    from financehub_dagster.gateway.client import VendorClient


@dataclass(slots=True)
class Call:
    """One piece of work: `requests` counts what left for it, the tries that failed included.

    symbol is ours, asked what the vendor calls it. reply is the last answer.
    """

    client: "VendorClient"
    capability: str
    symbol: str | None = None
    base_url: str | None = None
    requests: int = 0
    reply: Reply | None = None
    asked: str | None = None

    @property
    def clock(self) -> datetime:
        """The time by the vendor's clock, ours before its first answer; in UTC."""
        return datetime.now(UTC) if self.reply is None else self.reply.server_time

    def count(self) -> None:
        """Note that a request leaves."""
        self.requests += 1
        sent = _sent.get()
        if sent is not None:
            sent.count()

    def refused(self) -> Unreachable:
        """The error of a refused connection: a network may come back by itself, a server of this machine does not."""
        policy = self.client.policy
        address = policy.place.removeprefix("@")
        if address and is_loopback(f"http://{address}"):
            remedy = "start the sandbox: `financehub up --sandbox`"
            problem = f"nothing answers at {address}, its base URL override; {remedy}"
            return OverrideDown(policy.provider, problem, symbol=self.symbol)
        return Unreachable(policy.provider, "no connection could be made; is the network up?", symbol=self.symbol)

    def answered(self, path: str, status: int, headers: Mapping[str, str | None], body: bytes) -> Reply:
        """What came back for it, by whichever client library; path is the vendor's, without query."""
        lower = {name.lower(): value or "" for name, value in headers.items()}
        return Reply(self.client.policy.provider, path, status, lower, body, self.symbol, asked=self.asked)

    def document(self) -> Any:
        """The last answer as JSON; raises Malformed, or LookupError before the first."""
        if self.reply is None:
            raise LookupError("nothing was answered yet")
        return self.reply.json()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Sent:
    """Requests that left for a run, those that brought no answer included."""

    requests: int = 0
    _lock: Lock = field(default_factory=Lock)

    def count(self) -> None:
        """One more, from whichever thread."""
        with self._lock:
            self.requests += 1


_current: ContextVar[Call | None] = ContextVar("financehub_call", default=None)
_sent: ContextVar[Sent | None] = ContextVar("financehub_sent", default=None)


class OutsideOfCall(RuntimeError):
    """A gateway session was used outside of any call; a programming error, nothing was sent."""


@contextmanager
def calling(call: Call) -> Iterator[Call]:
    """Make `call` the one that this thread's requests belong to."""
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


@contextmanager
def counting() -> Iterator[Sent]:
    """Count the requests that leave meanwhile, from this thread and those that run in a copy of its context."""
    sent = Sent()
    token = _sent.set(sent)
    try:
        yield sent
    finally:
        _sent.reset(token)


def counted_by() -> Sent | None:
    """What counts this thread's requests, which lives as long as the run that they are for; None outside of one."""
    return _sent.get()


def current_call() -> Call:
    """The call this thread is in; raises OutsideOfCall outside of one."""
    call = _current.get()
    if call is None:
        raise OutsideOfCall("a gateway session was used outside of `calling(...)`")
    return call
