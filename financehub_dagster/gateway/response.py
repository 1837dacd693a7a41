"""What came back from a vendor, whichever client library fetched it, and what any vendor's HTTP status means.

Belongs here: the library-neutral answer, Retry-After and the meaning of a bare status. Does not belong here: the error
bodies of one vendor, which its provider reads first.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import orjson

from financehub_dagster.gateway.errors import (
    BadKey,
    BadRequest,
    Banned,
    BurstLimit,
    Malformed,
    NotInPlan,
    ProviderError,
    Transient,
)
from financehub_dagster.gateway.redaction import redact

EXCERPT = 80
"""Characters of a body that a message shows."""
LONGEST_SECRET = 4096
"""Bytes that a secret may take in a body, in any encoding."""
BAN_SECONDS = 300.0
"""How long we stay silent after a block that names no end."""


@dataclass(frozen=True)
class Reply:
    """One HTTP answer. headers are lower case; path is the vendor's, without query.

    symbol is ours for what was asked about, asked what the vendor calls it.
    """

    provider: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    symbol: str | None = None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked: str | None = None

    @property
    def as_asked(self) -> str:
        """What the vendor was asked for, to follow our symbol in a message; empty where that is our symbol itself."""
        return as_asked(self.symbol, self.asked)

    def json(self) -> Any:
        """The body as `parse_json` reads it, parsed once: read it only; raises Malformed, naming what came instead."""
        return self._document

    @cached_property
    def _document(self) -> Any:
        if not self.body.strip():
            raise Malformed(self.provider, "the answer is empty", symbol=self.symbol)
        try:
            return parse_json(self.body)
        except (ValueError, RecursionError):
            raise Malformed(self.provider, f"the answer is not JSON: {self.excerpt()}", symbol=self.symbol) from None

    def excerpt(self) -> str:
        """The beginning of the body in one printable line, without secrets, of which no cut may leave a part."""
        text = " ".join(redact(self.body[: 4 * EXCERPT + LONGEST_SECRET].decode("utf-8", "replace")).split())
        return "".join(c if c.isprintable() else "?" for c in text)[:EXCERPT] or "(empty)"

    @property
    def told_time(self) -> datetime | None:
        """The vendor's clock from the Date header, in UTC; None where there is none."""
        return parse_http_date(self.headers.get("date", ""))

    @property
    def server_time(self) -> datetime:
        """The vendor's clock, ours where it does not say; in UTC."""
        return self.told_time or datetime.now(UTC)

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the vendor's clock was ahead of ours; None without a Date header.

        A cache repeats the Date of the vendor and adds the Age of its copy (RFC 9111, section 5.1). Date has whole
        seconds, and the response was on its way: a difference of a second or two means nothing.
        """
        date = self.told_time
        age = self.headers.get("age", "0").strip()
        if date is None or not (age.isascii() and age.isdigit() and len(age) < 10):
            return None
        return (date - self.received_at).total_seconds() + int(age)

    @property
    def retry_after(self) -> float | None:
        """Seconds the vendor asks us to wait, from Retry-After as seconds or as an HTTP date; None without one."""
        value = self.headers.get("retry-after", "").strip()
        if not value:
            return None
        at = parse_http_date(value)
        if at is not None:
            return max((at - self.server_time).total_seconds(), 0.0)
        try:
            seconds = float(value)
        except ValueError:
            return None
        return max(seconds, 0.0) if math.isfinite(seconds) else None


def as_asked(symbol: str | None, asked: str | None) -> str:
    """`asked`, to follow words about `symbol` in a message; empty where it is no other name."""
    return "" if symbol is None or asked is None or asked == symbol else f" (as {asked})"


def parse_json(body: bytes) -> Any:
    """A JSON document; the tokens NaN and Infinity, which JSON lacks and some vendors send, as floats.

    Raises ValueError for anything else. One such token then costs the number in its place, not the whole answer.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if b"NaN" not in body and b"Infinity" not in body:
            raise
        return json.loads(body)


def parse_http_date(value: str) -> datetime | None:
    """An HTTP date (RFC 9110 section 5.6.7) in UTC; None for anything else."""
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def banned(reply: Reply, message: str, seconds: float = BAN_SECONDS) -> Banned:
    """A block of this address, which ends after Retry-After or, where the vendor does not say, after `seconds`."""
    wait = seconds if reply.retry_after is None else reply.retry_after
    until = datetime.now(UTC) + timedelta(seconds=wait)
    return Banned(reply.provider, message, symbol=reply.symbol, retry_after=wait, until=until)


def burst_limit(reply: Reply, message: str, seconds: float | None = None) -> BurstLimit:
    """Too many calls in a short window, which ends after Retry-After or, where the vendor does not say, `seconds`."""
    wait = seconds if reply.retry_after is None else reply.retry_after
    until = None if wait is None else datetime.now(UTC) + timedelta(seconds=wait)
    return BurstLimit(reply.provider, message, symbol=reply.symbol, retry_after=wait, until=until)


def refusal_of_status(reply: Reply) -> ProviderError | None:
    """The error a status stands for when the body says nothing better; None for 2xx."""
    status, provider, symbol = reply.status, reply.provider, reply.symbol
    if 200 <= status < 300:
        return None
    said = f"HTTP {status}: {reply.excerpt()}"
    if status == 429:
        return burst_limit(reply, said)
    if status == 401:
        return BadKey(provider, f"not authorized ({said})", symbol=symbol)
    if status in (403, 418):
        return banned(reply, f"this address is refused ({said})")
    if status == 451:
        return NotInPlan(provider, f"not served to this country ({said})", symbol=symbol)
    if status in (408, 425) or status >= 500:
        return Transient(provider, said, symbol=symbol, retry_after=reply.retry_after)
    if 300 <= status < 400:
        return Malformed(provider, f"sent elsewhere instead of answering (HTTP {status})", symbol=symbol)
    return BadRequest(provider, said, symbol=symbol)
