"""Secrets never leave the gateway: every text that does is searched for them, by place and by value.

Belongs here: which values are secret, and taking them out of texts and log records. Does not belong here: keeping keys,
and which places and values are searched (`storage.database.masking`).
A value is found raw, URL-encoded (twice over, too), as JSON and HTML write it, and in base64 at any alignment (`Basic`
authorization encodes it behind a name).
"""

import base64
import html
import json
import logging
import re
import threading
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pydantic import SecretStr

from financehub_dagster.storage.database.masking import MASK, is_searchable, mask

SHORTEST_PIECE = 8
"""Characters of base64 from which a piece is searched for."""

_ESCAPE = re.compile("%[0-9A-F]{2}")
_registered: set[str] = set()
_lock = threading.Lock()


def register_secret(value: str) -> None:
    """Take `value` out of every text from now on."""
    with _lock:
        _registered.add(value)


def redact(text: str) -> str:
    """`text` with every known secret masked, in whichever encoding it appears, and whatever stands in a secret's place.

    A value that may be part of a word (`storage.database.masking`) is masked only in its place: in an address, after
    `apikey=`.
    """
    for secret in _known_secrets():
        for form in _forms(secret):
            text = text.replace(form, MASK)
    return mask(text)


class RedactingFilter(logging.Filter):
    """Masks secrets in the log records of the client libraries, which log the addresses they ask."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; never drops one."""
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        return True


def guard_logger(name: str) -> None:
    """Redact what the logger `name` is given to log; calling it again changes nothing."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, RedactingFilter) for each in logger.filters):
        logger.addFilter(RedactingFilter())


def _known_secrets() -> list[str]:
    """Registered values and those of the environment, the longest first, so that no part of one is left over."""
    from financehub_dagster.settings import get_settings

    settings = get_settings()
    known = set(_registered)
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            known.update(_secrets_in(value.get_secret_value()))
    return sorted(filter(is_searchable, known), key=len, reverse=True)


@lru_cache(maxsize=64)
def _secrets_in(value: str) -> tuple[str, ...]:
    """A database address hides a password; any other secret is one, and a list of keys is several."""
    if "://" not in value:
        return (value, *(part.strip() for part in value.split(",")))
    password = urlsplit(value).password
    return (value,) if password is None else (value, password, unquote(password))


@lru_cache(maxsize=256)
def _forms(secret: str) -> tuple[str, ...]:
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), quote(quote(secret, safe=""), safe="")}
    forms |= {_ESCAPE.sub(lambda found: found[0].lower(), form) for form in forms}
    written = json.dumps(secret)[1:-1]
    forms |= {written, written.replace("/", "\\/"), html.escape(secret)}
    raw = secret.encode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode().rstrip("=")
        # Characters that also carry bits of a neighbour differ from text to text: only the inner ones are searched for.
        first = (offset * 8 + 5) // 6
        last = (offset + len(raw)) * 8 // 6
        inner = encoded[first:last]
        if len(inner) >= SHORTEST_PIECE:
            forms.update((inner, inner.replace("+", "-").replace("/", "_")))
    return tuple(sorted(forms, key=len, reverse=True))
