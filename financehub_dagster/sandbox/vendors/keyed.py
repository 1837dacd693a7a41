"""What the vendors with API keys have in common.

Belongs here: checking keys and plans ahead of the endpoints. Does not belong here: limits, words and documents, which
each vendor brings along.
"""

import time
from typing import override

from starlette.requests import Request
from starlette.responses import Response

from financehub_dagster.sandbox.vendors.accounts import Plan
from financehub_dagster.sandbox.vendors.vendor import Identity, Refused, Situation, Vendor, retry_headers

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


class KeyedVendor(Vendor):
    """A vendor that counts calls per key; subclasses bring windows, words, endpoints and the place of the key."""

    #: Whether calls without a key are served at all.
    serves_keyless: bool = False
    #: Which situation the vendor means by an HTTP status.
    statuses: dict[int, Situation]

    @override
    def admit(self, identity: Identity, at: float) -> Response | None:
        """A valid key first, then room in each of its windows."""
        known = self.serves_keyless if identity.key is None else self.accounts.valid(identity.key)
        return super().admit(identity, at) if known else self.situation("bad_key", identity, at)

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
    def declare_key(self, key: str, valid: bool, plan: Plan) -> None:
        """Say whether a key is valid and what plan it is on."""
        self.accounts.declare(key, valid, plan)

    def paid(self, request: Request) -> bool:
        """Whether the request's key is on a paid plan."""
        return self.accounts.plan(self.key_of(request)) == "paid"

    def require_paid(self, request: Request) -> None:
        """Refuse a request whose key is on the free plan."""
        if not self.paid(request):
            raise Refused(self.situation("not_in_plan", Identity(), self.market.now()))
