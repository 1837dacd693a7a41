"""The gateway session for client libraries built on `requests`.

Belongs here: one try over `requests` with bounded time and size, and its failures as typed errors. Does not belong
here: limits, retries and the meaning of answers (the client).
"""

import time
from typing import Any, override
from urllib.parse import urlsplit

import requests
import urllib3

from financehub_dagster.gateway.api_keys import NO_CREDENTIALS, Credentials
from financehub_dagster.gateway.errors import BadRequest, Malformed, Transient, Unreachable
from financehub_dagster.gateway.http.deadline import DeadlineAdapter, by
from financehub_dagster.gateway.redaction import guard_logger
from financehub_dagster.gateway.request_context import Call, current_call
from financehub_dagster.gateway.response import Reply

_CHUNK_BYTES = 256 * 1024


class GatewaySession(requests.Session):
    """A `requests.Session` that sends nothing outside of a call, and everything through its client.

    A usable answer is returned with its body read; anything else raises ProviderError. Redirects are not followed. The
    timeout a caller passes is ignored in favour of the policy's.
    """

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, DeadlineAdapter())
        guard_logger("urllib3.connectionpool")

    @override
    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one prepared request under the current call's client; raises ProviderError."""
        call = current_call()
        kwargs = {**kwargs, "stream": True, "allow_redirects": False}

        path = urlsplit(request.url or "").path

        def once(seconds: float, credentials: Credentials) -> tuple[requests.Response, Reply]:
            timeouts = call.client.policy.timeouts
            kwargs["timeout"] = (min(timeouts.connect, seconds), seconds)
            signed = _signed(request, credentials)
            response = self._once(call, signed, time.monotonic() + seconds, timeouts.body_bytes, kwargs)
            return response, call.answered(path, response.status_code, response.headers, response.content)

        return call.client.perform(call, path, once)

    def _once(
        self, call: Call, request: requests.PreparedRequest, deadline: float, most_bytes: int, kwargs: dict[str, Any]
    ) -> requests.Response:
        provider, symbol = call.client.policy.provider, call.symbol
        try:
            with by(deadline):
                response = super().send(request, **kwargs)
            _read_body(call, response, deadline, most_bytes)
        except (requests.ConnectTimeout, requests.exceptions.SSLError) as error:
            raise Unreachable(provider, f"no connection ({type(error).__name__})", symbol=symbol) from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise Transient(provider, "no complete answer in time", symbol=symbol) from None
        except requests.ConnectionError as error:
            raise _connection_error(call, error) from None
        except (urllib3.exceptions.HTTPError, requests.exceptions.ContentDecodingError) as error:
            raise Malformed(provider, f"the answer broke off ({type(error).__name__})", symbol=symbol) from None
        except OSError as error:
            raise Transient(provider, f"the connection failed ({type(error).__name__})", symbol=symbol) from None
        except requests.RequestException as error:
            raise BadRequest(provider, f"cannot be sent ({type(error).__name__})", symbol=symbol) from None
        return response


def _signed(request: requests.PreparedRequest, credentials: Credentials) -> requests.PreparedRequest:
    """A copy of the request that carries the key of this try; the caller's own never does."""
    if credentials is NO_CREDENTIALS:
        return request
    signed = request.copy()
    signed.headers.update(credentials.headers)
    if credentials.query:
        signed.prepare_url(signed.url or "", dict(credentials.query))
    return signed


def _connection_error(call: Call, error: requests.ConnectionError) -> Transient:
    """A refused connection or an unknown host never reached the vendor; a reset did."""
    provider, symbol = call.client.policy.provider, call.symbol
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    if isinstance(reason, urllib3.exceptions.NewConnectionError):
        return call.refused()
    if isinstance(reason, urllib3.exceptions.ProxyError):
        return Unreachable(provider, "no connection could be made; is the network up?", symbol=symbol)
    return Transient(provider, "the connection was closed before the answer", symbol=symbol)


def _read_body(call: Call, response: requests.Response, deadline: float, most_bytes: int) -> None:
    """Read the body as it comes, so that neither a slow drip nor an endless stream can hold us."""
    provider, symbol = call.client.policy.provider, call.symbol
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > most_bytes:
                raise Malformed(provider, f"the answer is larger than {most_bytes:,} bytes", symbol=symbol)
            if time.monotonic() > deadline:
                raise Transient(provider, "no complete answer in time", symbol=symbol)
    except BaseException:
        response.close()
        raise
    # requests has no public way to hand over a body that was read from the raw stream.
    response._content = b"".join(chunks)
    response._content_consumed = True  # type: ignore[attr-defined]
    response.raw.release_conn()
