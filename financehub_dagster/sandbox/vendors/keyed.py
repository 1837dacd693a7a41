"""What the vendors with API keys have in common.

Belongs here: finding the key, checking it and keeping the books, ahead of the endpoints. Does not belong here: limits,
words and documents, which each vendor brings along.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import override

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.vendors.accounts import Accounts, Plan
from financehub_dagster.sandbox.vendors.limits import RateWindow
from financehub_dagster.sandbox.vendors.vendor import Identity, Situation, Vendor, retry_headers

_CDN_PAGE = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"
)
_REASONS = {
    403: "403 Forbidden",
    404: "404 Not Found",
    418: "418 I'm a teapot",
    451: "451 Unavailable For Legal Reasons",
    500: "500 Internal Server Error",
    502: "502 Bad Gateway",
    503: "503 Service Temporarily Unavailable",
    504: "504 Gateway Time-out",
}


class Refused(Exception):
    """What an endpoint answers instead of data."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"refused with status {response.status_code}")
        self.response = response


class KeyedVendor(Vendor):
    """A vendor that counts calls per key; subclasses bring windows, words, routes and the place of the key."""

    #: The windows of the free plan and of the paid one, and of calls without a key where these are others.
    plans: tuple[tuple[RateWindow, ...], ...]
    #: Whether calls without a key are served at all.
    serves_keyless = False
    #: Which situation the vendor means by an HTTP status.
    statuses: dict[int, Situation]

    def __init__(self, market: Market) -> None:
        self.market = market
        self.accounts = Accounts(*self.plans)

    @abstractmethod
    def key_of(self, request: Request) -> str | None:
        """The key a request carries; None for none or an empty one."""

    @abstractmethod
    def symbols_of(self, request: Request) -> Iterable[str]:
        """The symbols a request asks for, as sent."""

    def weight_of(self, request: Request) -> int:  # noqa: ARG002
        """The credits a request costs."""
        return 1

    @override
    def identify(self, request: Request) -> Identity:
        """Key, symbols in our spelling where the vendor carries them, and cost."""
        known = self.carried()
        symbols = tuple(known[name].symbol if name in known else name for name in self.symbols_of(request) if name)
        return Identity(symbols, self.key_of(request), self.weight_of(request))

    @override
    def admit(self, identity: Identity, at: float) -> Response | None:
        """A valid key first, then room in each of its windows."""
        if identity.key is None and not self.serves_keyless:
            return self.situation("bad_key", identity, at)
        if identity.key is not None and not self.accounts.valid(identity.key):
            return self.situation("bad_key", identity, at)
        broken = self.accounts.admit(identity.key, identity.weight, at)
        return None if broken is None else self.situation(broken.kind, identity, at)

    @override
    def refusal(self, status: int, retry_after: int | None) -> Response:
        """The vendor's words where the status means something to it, else the page of what stands before it."""
        if status in self.statuses:
            response = self.situation(self.statuses[status], Identity(key="sandbox-key"), time.time())
            response.status_code = status
            del response.headers["Retry-After"]  # which only `retry_after` puts there
        else:
            reason = _REASONS.get(status, f"{status} Error")
            response = Response(_CDN_PAGE.format(reason), status, media_type="text/html")
        response.headers.update(retry_headers(retry_after))
        return response

    @override
    def headers(self, identity: Identity, at: float) -> dict[str, str]:
        """None, unless the vendor has some."""
        return {}

    @override
    def declare_key(self, key: str, valid: bool, plan: Plan) -> None:
        """Say whether a key is valid and what plan it is on."""
        self.accounts.declare(key, valid, plan)

    @override
    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """`calls` (credits where the vendor counts credits) per window, for every key; None: the vendor's own."""
        self.accounts.limit(calls, window_seconds)

    @override
    def reset(self) -> None:
        """Nothing used, every key valid and free."""
        self.accounts.reset()

    def carries(self, instrument: Instrument) -> bool:  # noqa: ARG002
        """Whether the vendor lists an instrument."""
        return True

    def carried(self) -> dict[str, Instrument]:
        """What the vendor lists, by its own names."""
        return {self.spelling(each): each for each in self.market.listed if self.carries(each)}

    def matching(self, text: str) -> dict[str, Instrument]:
        """What the vendor lists under a symbol that begins with `text`, or a name that holds it."""
        sought = text.upper()
        if not sought:
            return {}
        listed = self.carried().items()
        return {name: each for name, each in listed if name.startswith(sought) or sought in each.name.upper()}

    def paid(self, request: Request) -> bool:
        """Whether the request's key is on a paid plan."""
        return self.accounts.plan(self.key_of(request)) == "paid"

    def require_paid(self, request: Request) -> None:
        """Refuse a request whose key is on the free plan."""
        if not self.paid(request):
            raise Refused(self.situation("not_in_plan", Identity(), self.market.now()))

    def answering(self, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """`answer` as an endpoint, with refusals turned into answers."""

        def endpoint(request: Request) -> Response:
            try:
                return answer(request)
            except Refused as refused:
                return refused.response

        return endpoint
