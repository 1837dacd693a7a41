"""What a vendor of the sandbox consists of.

Belongs here: the protocol that the server needs, and the small helpers every vendor's wire format uses. Does not belong
here: anything of one vendor; each has a file of its own.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.vendors.accounts import Plan

#: Says whether the bars in an answer were recorded, generated, or some of each (mixed).
ORIGIN_HEADER = "X-FinanceHub-Sandbox"

#: What can go wrong between a vendor and its customer, whatever words the vendor has for it.
Situation = Literal["bad_key", "burst", "day_quota", "month_quota", "not_in_plan", "banned", "unknown_symbol"]


#: What a vendor does now and then although nobody asked for it.
Quirk = Literal["closing_bar", "extended_hours", "exchange_time", "microseconds", "null_rows"]
#: Key under which the server leaves the quirk of a request in its ASGI scope.
QUIRK = "financehub.quirk"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a request asks for: symbols (ours where known, else as sent), the API key it carries, its cost in weight."""

    symbols: tuple[str, ...] = ()
    key: str | None = None
    weight: int = 1


class Vendor(Protocol):
    """One vendor's wire format; everything is answered synchronously and without waiting."""

    #: The platform's name for the vendor, as in aliases; without underscores it is the path it answers below.
    name: str
    #: The situations for which the vendor has words of its own.
    situations: Collection[Situation] = ()
    #: The quirks that the vendor can be told to have.
    quirks: Collection[Quirk] = ()

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The vendor's endpoints."""
        ...

    def identify(self, request: Request) -> Identity:
        """What `request` asks for, without answering it."""
        ...

    def admit(self, identity: Identity, at: float) -> Response | None:
        """Count the request at UTC epoch seconds `at`; the refusal where it exceeds the vendor's limits."""
        ...

    def headers(self, identity: Identity, at: float) -> dict[str, str]:
        """Headers on every answer of this vendor."""
        ...

    def refusal(self, status: int, retry_after: int | None) -> Response:
        """The vendor's own words for an HTTP status."""
        ...

    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """The vendor's own words for one of its `situations`, with the HTTP status it uses for it."""
        ...

    def spelling(self, instrument: Instrument) -> str:
        """How requests name an instrument."""
        return instrument.symbol_at(self.name)

    def declare_key(self, key: str, valid: bool, plan: Plan) -> None:  # noqa: ARG002
        """Say what a key is; raises SandboxError where the vendor has no keys."""
        raise SandboxError(f"vendor {self.name} asks for no keys")

    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """Change the enforced limit; None puts the vendor's own back."""
        ...

    def reset(self) -> None:
        """Forget what was counted and changed."""
        ...


def quirk_of(request: Request) -> Quirk | None:
    """The quirk that the vendor is to have in answering this request."""
    found: Quirk | None = request.scope.get(QUIRK)
    return found


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`body` as JSON; NumPy arrays are numbers, NaN is null."""
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, headers, "application/json;charset=utf-8")


def retry_headers(retry_after: int | None) -> dict[str, str]:
    """The Retry-After header in seconds, if there is one."""
    return {} if retry_after is None else {"Retry-After": str(retry_after)}


def path_of(vendor: str) -> str:
    """The path below which a vendor answers: its name without underscores."""
    return vendor.replace("_", "")
