"""What stands between the HTTP server and whoever can reach it: tokens, limits, and headers.

Belongs here: refusing requests before a route sees them, and where the server may listen. Does not belong here: routes.

Without tokens the server listens on loopback only, or behind a proxy that has a login of its own. On loopback it
answers only to names of loopback: a page of another site could otherwise have its own name point here.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/livez"})
"""Answered without a token: orchestrators ask it, and it shows nothing."""
LARGEST_BODY = 64 * 1024
"""Bytes of a request's body; no route takes more than a few words."""
CONNECTIONS = 100
"""Served at the same time; further ones get 503."""
LARGEST_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""On every answer: no page is shown within another one, sniffed for another type, or kept by a cache."""


class Unguarded(Exception):
    """The server would be open to others; the message has the remedy."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_guard(host: str, tokens: Sequence[str], *, behind_proxy: bool, option: str = "--host") -> None:
    """Raise Unguarded where others could reach the server at `host` without a login."""
    if not (is_loopback(host) or tokens or behind_proxy):
        raise Unguarded(
            f"{option} {host} would let others in without a login: set FINANCEHUB_SERVE_TOKENS, or "
            "FINANCEHUB_BEHIND_PROXY=true if only a proxy with a login can reach it (docs/deployment.md)"
        )


class Guard:
    """An ASGI application around another one: a token where any are set, a bounded body, security headers.

    own_names: answer only where the request names this machine's loopback. preflights: let browsers ask without a token
    whether a page may ask with one; what lies behind must answer that itself, and nothing else.
    """

    def __init__(self, app: App, tokens: Sequence[str], *, own_names: bool = False, preflights: bool = False) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        self._own_names = own_names
        self._preflights = preflights

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        headers = dict(scope["headers"])
        if not (self._is_preflight(scope["method"], headers) or self._admits(scope["path"], headers)):
            await _refuse(send_with_headers, 401, b"token required", (b"www-authenticate", b"Bearer"))
        elif self._own_names and not is_loopback(_host(headers)):
            await _refuse(send_with_headers, 421, b"this server answers as localhost or 127.0.0.1")
        elif _is_too_large(headers):
            await _refuse(send_with_headers, 413, b"request too large")
        else:
            await self._app(scope, receive, send_with_headers)

    def _is_preflight(self, method: str, headers: MutableMapping[bytes, bytes]) -> bool:
        """Whether a browser asks on behalf of a page; the application's CORS answers, for whatever path."""
        asks = b"origin" in headers and b"access-control-request-method" in headers
        return self._preflights and method == "OPTIONS" and asks

    def _admits(self, path: str, headers: MutableMapping[bytes, bytes]) -> bool:
        """Whether the request has one of the tokens; takes as long for a token that is nearly right."""
        if not self._tokens or path in OPEN_PATHS:
            return True
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        right = [hmac.compare_digest(given.strip(), token) for token in self._tokens]
        return scheme.lower() == b"bearer" and any(right)


def _host(headers: MutableMapping[bytes, bytes]) -> str:
    """The name that the request has for this server, without its port; empty where it is none."""
    try:
        return urlsplit(f"//{headers.get(b'host', b'').decode('latin-1')}").hostname or ""
    except ValueError:
        return ""


def _is_too_large(headers: MutableMapping[bytes, bytes]) -> bool:
    """Whether the body is longer than allowed, or of a length that is not said beforehand."""
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" in headers or not length.isdigit() or int(length) > LARGEST_BODY


async def _refuse(send: Send, status: int, text: bytes, *headers: tuple[bytes, bytes]) -> None:
    own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": text})
