"""API keys: how a vendor takes them, and how we name them without showing them.

Belongs here: reading a provider's keys, their fingerprints, and putting one into a request. Does not belong here: which
key a try uses (throttle), and what is remembered of each (storage).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256

from pydantic import SecretStr

from financehub_dagster.gateway.errors import NotConfigured
from financehub_dagster.gateway.redaction import register_secret
from financehub_dagster.settings import get_settings

SHOWN = 4
"""Most characters of a key that are ever shown; a quarter of a short one."""

_logger = logging.getLogger("financehub.gateway")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one try adds to its request."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


NO_CREDENTIALS = Credentials()


@dataclass(frozen=True, slots=True)
class Auth:
    """Where a vendor wants its key: in a header or in a parameter of the query, after `prefix`."""

    header: str | None = None
    query: str | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        if (self.header is None) == (self.query is None):
            raise ValueError("a key travels in a header or in the query, and in one of them only")

    def credentials(self, key: "Key") -> Credentials:
        """What carries `key` to the vendor."""
        value = f"{self.prefix}{key.secret.get_secret_value()}"
        return Credentials(headers={self.header: value}) if self.header else Credentials(query={str(self.query): value})


@dataclass(frozen=True, slots=True)
class Key:
    """One key; `fingerprint` names it in tables and messages."""

    secret: SecretStr
    fingerprint: str


def keys_of(provider: str) -> tuple[Key, ...]:
    """The keys of `provider` as configured, registered for redaction; empty, said once, when it has none."""
    found = get_settings().api_keys(provider)
    if not found:
        _say_off(provider)
    for secret in found:
        register_secret(secret)
    return tuple(Key(SecretStr(secret), fingerprint(provider, secret)) for secret in found)


def fingerprint(provider: str, secret: str) -> str:
    """The last characters of a key and four digits of its hash, which keep apart two keys that end alike."""
    shown = min(SHOWN, len(secret) // 4)
    digest = sha256(f"{provider}:{secret}".encode()).hexdigest()[:4]
    return f"{secret[len(secret) - shown :]}-{digest}"


def is_off(provider: str) -> bool:
    """Does this provider need a key and have none?"""
    settings = get_settings()
    return settings.needs_key(provider) and not settings.api_keys(provider)


def not_configured(provider: str) -> NotConfigured:
    """The error of a provider that is off."""
    return NotConfigured(provider, f"is off, it has no key: set {provider.upper()}_API_KEYS")


@cache
def _say_off(provider: str) -> None:
    _logger.warning("%s", not_configured(provider))
