"""What every vendor of the sandbox has: endpoints, a market behind them and limits before them.

Belongs here: what the server needs of a vendor, and the small helpers every wire format uses. Does not belong here:
anything of one vendor; each has a file or a folder of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.vendors.accounts import Accounts, Plan
from financehub_dagster.sandbox.vendors.limits import RateWindow

#: Says whether the bars in an answer were recorded, generated, or some of each (mixed).
ORIGIN_HEADER = "X-FinanceHub-Sandbox"

#: What can go wrong between a vendor and its customer, whatever words the vendor has for it.
Situation = Literal["bad_key", "burst", "day_quota", "month_quota", "not_in_plan", "banned", "unknown_symbol"]


#: What a vendor does now and then although nobody asked for it.
Quirk = Literal[
    "closing_bar", "extended_hours", "exchange_time", "microseconds", "null_rows",
    "bad_checksum", "corrupt_zip", "bulk_gap",
]  # fmt: skip
#: Key under which the server leaves the quirk of a request in its ASGI scope.
QUIRK = "financehub.quirk"

Endpoint = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a request asks for: symbols (ours where known, else as sent), the API key it carries, its cost in weight."""

    symbols: tuple[str, ...] = ()
    key: str | None = None
    weight: int = 1


class Refused(Exception):
    """What an endpoint answers instead of data."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"refused with status {response.status_code}")
        self.response = response


class Vendor(ABC):
    """One vendor's wire format; everything is answered synchronously and without waiting."""

    #: The platform's name for the vendor, as in aliases; without underscores it is the path it answers below.
    name: str
    #: What the paths of all endpoints begin with.
    prefix: str = ""
    #: The windows of the free plan, of the paid one, and of calls without a key where these are others.
    plans: tuple[tuple[RateWindow, ...], ...]
    #: The situations for which the vendor has words of its own.
    situations: Collection[Situation] = ()
    #: The quirks that the vendor can be told to have.
    quirks: Collection[Quirk] = ()

    def __init__(self, market: Market) -> None:
        self.market = market
        self.accounts = Accounts(*self.plans)

    @property
    @abstractmethod
    def endpoints(self) -> Mapping[str, Endpoint]:
        """What answers each path; it may raise Refused."""

    @abstractmethod
    def symbols_of(self, request: Request) -> Iterable[str]:
        """The symbols a request asks for, as sent."""

    @abstractmethod
    def refusal(self, status: int, retry_after: int | None) -> Response:
        """The vendor's own words for an HTTP status."""

    @abstractmethod
    def situation(self, name: Situation, identity: Identity, at: float) -> Response:
        """The vendor's own words for one of its `situations`, with the HTTP status it uses for it."""

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The vendor's endpoints."""
        return [Route(f"{self.prefix}{path}", self.answering(answer)) for path, answer in self.endpoints.items()]

    def answering(self, answer: Endpoint) -> Endpoint:
        """`answer` as an endpoint, with refusals turned into answers."""

        def endpoint(request: Request) -> Response:
            try:
                return answer(request)
            except Refused as refused:
                return refused.response

        return endpoint

    def key_of(self, request: Request) -> str | None:  # noqa: ARG002
        """The key a request carries; None for none or an empty one."""
        return None

    def weight_of(self, request: Request) -> int:  # noqa: ARG002
        """The weight or the credits a request costs."""
        return 1

    def identify(self, request: Request) -> Identity:
        """What `request` asks for, without answering it: symbols are in our spelling where the vendor carries them."""
        known = self.carried()
        symbols = tuple(known[name].symbol if name in known else name for name in self.symbols_of(request) if name)
        return Identity(symbols, self.key_of(request), self.weight_of(request))

    def admit(self, identity: Identity, at: float) -> Response | None:
        """Count the request at UTC epoch seconds `at`; the refusal where it exceeds the vendor's limits."""
        broken = self.accounts.admit(identity.key, identity.weight, at)
        return None if broken is None else self.situation(broken.kind, identity, at)

    def headers(self, identity: Identity, at: float) -> dict[str, str]:  # noqa: ARG002
        """Headers on every answer of this vendor."""
        return {}

    def spelling(self, instrument: Instrument) -> str:
        """How requests name an instrument."""
        return instrument.symbol_at(self.name)

    def carries(self, instrument: Instrument) -> bool:  # noqa: ARG002
        """Whether the vendor lists an instrument."""
        return True

    def carried(self) -> dict[str, Instrument]:
        """What the vendor lists, by its own names."""
        return {self.spelling(each): each for each in self.market.listed if self.carries(each)}

    def declare_key(self, key: str, valid: bool, plan: Plan) -> None:  # noqa: ARG002
        """Say what a key is; raises SandboxError where the vendor has no keys."""
        raise SandboxError(f"vendor {self.name} asks for no keys")

    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """`calls` (weight or credits where these count) per window, for every key; None: the vendor's own."""
        self.accounts.limit(calls, window_seconds)

    def reset(self) -> None:
        """Forget what was counted and changed."""
        self.accounts.reset()


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
