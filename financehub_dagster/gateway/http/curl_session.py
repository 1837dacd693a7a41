"""The gateway session for client libraries built on curl_cffi.

Belongs here: one try over curl_cffi with bounded time and size, its failures as typed errors, and base URL overrides.
Does not belong here: limits, retries and the meaning of answers (the client). Imports curl_cffi: import this module
inside functions only.
"""

from typing import Any, override
from urllib.parse import urlsplit

from curl_cffi import Curl, CurlOpt, ffi, lib
from curl_cffi.requests import Response, Session
from curl_cffi.requests import exceptions as curl

from financehub_dagster.gateway.addresses import host_of, overridden
from financehub_dagster.gateway.api_keys import Credentials
from financehub_dagster.gateway.errors import BadRequest, Malformed, ProviderError, Transient, Unreachable
from financehub_dagster.gateway.redaction import guard_logger
from financehub_dagster.gateway.request_context import Call, current_call
from financehub_dagster.gateway.response import Reply

_NO_PROXY_FOR = "127.0.0.1,::1,localhost"
_GO_ON, _ABORT = 0, 1
"""CURL_PREREQFUNC_OK and _ABORT, https://curl.se/libcurl/c/CURLOPT_PREREQFUNCTION.html"""


@ffi.callback("int(void *, char *, char *, int, int)", error=_ABORT)  # type: ignore[untyped-decorator]
def _count_down(left: Any, *_addresses: Any) -> int:
    """Called by libcurl before each request it sends."""
    requests = ffi.cast("int *", left)
    requests[0] -= 1
    return _GO_ON if requests[0] >= 0 else _ABORT


class _SentOnce(Curl):
    """Sends one request and no other.

    libcurl repeats a request by itself when the kept connection that it chose was closed meanwhile, though the vendor
    may have read and counted the first.
    """

    @override
    def perform(self, *args: Any, **kwargs: Any) -> None:
        left = ffi.new("int *", 1)
        for option, value in ((CurlOpt.PREREQFUNCTION, _count_down), (CurlOpt.PREREQDATA, left)):
            lib._curl_easy_setopt(self._curl, option, value)
        super().perform(*args, **kwargs)


class GatewayCurlSession(Session[Response]):
    """A curl_cffi `Session` that sends nothing outside of a call, and everything through its client.

    A usable answer is returned; anything else raises ProviderError. Redirects are not followed. The timeout a caller
    passes is ignored in favour of the policy's. Safe to share between threads: the client and the base URL override
    are those of the calling thread's call.
    """

    def __init__(self, logger: str | None = None) -> None:
        super().__init__(impersonate="chrome", curl_options={CurlOpt.NOPROXY: _NO_PROXY_FOR})
        if logger is not None:
            guard_logger(logger)

    @property
    @override
    def curl(self) -> Curl:
        """The handle of the calling thread."""
        if not isinstance(getattr(self._local, "curl", None), _SentOnce):
            self._local.curl = _SentOnce()
        handle: Curl = self._local.curl
        return handle

    @override
    def request(self, method: Any, url: str, **kwargs: Any) -> Response:  # type: ignore[override]
        """Send one request under the current call's client; raises ProviderError."""
        call = current_call()
        timeouts = call.client.policy.timeouts
        kwargs = {**kwargs, "allow_redirects": False}
        target = url
        if call.base_url is not None:
            target = overridden(url, call.base_url)
            kwargs["headers"] = {**(kwargs.get("headers") or {}), "Host": host_of(url)}
            kwargs["http_version"] = "v1"  # without TLS, curl would ask for an upgrade that plain servers refuse

        path = urlsplit(url).path

        def once(seconds: float, _credentials: Credentials) -> tuple[Response, Reply]:
            connect = min(timeouts.connect, seconds)
            kwargs["timeout"] = (connect, seconds - connect)
            response = self._once(call, method, target, timeouts.body_bytes, kwargs)
            return response, call.answered(path, response.status_code, response.headers, response.content)

        return call.client.perform(call, path, once)

    def _once(self, call: Call, method: Any, url: str, most_bytes: int, kwargs: dict[str, Any]) -> Response:
        body = _BoundedBody(most_bytes)
        try:
            response = super().request(method, url, content_callback=body.take, **kwargs)
        except curl.RequestException as error:
            raise _typed(call, error, body) from None
        response.content = bytes(body.data)
        return response


class _BoundedBody:
    """Collects a body up to a size; curl aborts the transfer when a callback takes less than it was given."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.data = bytearray()
        self.too_large = False

    def take(self, chunk: bytes) -> int:
        if len(self.data) + len(chunk) > self.most_bytes:
            self.too_large = True
            return -1
        self.data += chunk
        return len(chunk)


def _typed(call: Call, error: curl.RequestException, body: _BoundedBody) -> ProviderError:
    provider, symbol = call.client.policy.provider, call.symbol
    if body.too_large:
        return Malformed(provider, f"the answer is larger than {body.most_bytes:,} bytes", symbol=symbol)
    if isinstance(error, curl.DNSError | curl.ProxyError | curl.SSLError | curl.ConnectTimeout) or _is_late(error):
        return Unreachable(provider, f"no connection ({type(error).__name__}); is the network up?", symbol=symbol)
    if isinstance(error, curl.Timeout):
        return Transient(provider, "no complete answer in time", symbol=symbol)
    if isinstance(error, curl.IncompleteRead | curl.ContentDecodingError | curl.ChunkedEncodingError):
        return Malformed(provider, f"the answer broke off ({type(error).__name__})", symbol=symbol)
    if type(error) is curl.ConnectionError and error.code == _COULDNT_CONNECT:
        return call.refused()
    if isinstance(error, curl.InvalidURL | curl.ImpersonateError | curl.SessionClosed):
        return BadRequest(provider, f"cannot be sent ({type(error).__name__})", symbol=symbol)
    return Transient(provider, "the connection was closed before the answer", symbol=symbol)


def _is_late(error: curl.RequestException) -> bool:
    """Did the time run out before there was a connection? curl has one code for all times that run out."""
    return isinstance(error, curl.Timeout) and any(words in str(error) for words in _EARLY)


_EARLY = ("Resolving timed out", "Connection timed out", "SSL connection timeout")
"""How libcurl tells a time that ran out before the request was sent (lib/multi.c, lib/connect.c)."""

_COULDNT_CONNECT = 7
"""CURLE_COULDNT_CONNECT, https://curl.se/libcurl/c/libcurl-errors.html"""
