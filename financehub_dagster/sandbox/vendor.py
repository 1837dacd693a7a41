"""What a vendor of the sandbox consists of.

Belongs here: the protocol that the server needs, and the small helpers every vendor's wire format uses. Does not belong
here: anything of one vendor; each has a file of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

#: Says whether the bars in an answer were recorded, generated, or some of each (mixed).
ORIGIN_HEADER = "X-FinanceHub-Sandbox"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a request asks for: symbols (ours where known, else as sent), the API key it carries, its cost in weight."""

    symbols: tuple[str, ...] = ()
    key: str | None = None
    weight: int = 1


class Vendor(Protocol):
    """One vendor's wire format; everything is answered synchronously and without waiting."""

    name: str

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

    def headers(self, at: float) -> dict[str, str]:
        """Headers on every answer of this vendor."""
        ...

    def refusal(self, status: int, retry_after: int | None) -> Response:
        """The vendor's own words for an HTTP status."""
        ...

    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """Change the enforced limit; None puts the vendor's own back."""
        ...

    def reset(self) -> None:
        """Forget what was counted and changed."""
        ...


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`body` as JSON; NumPy arrays are numbers, NaN is null."""
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, headers, "application/json;charset=utf-8")


def retry_headers(retry_after: int | None) -> dict[str, str]:
    """The Retry-After header in seconds, if there is one."""
    return {} if retry_after is None else {"Retry-After": str(retry_after)}
