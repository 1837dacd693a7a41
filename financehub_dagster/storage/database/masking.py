"""Taking secrets out of a text: where they stand, and by their value where that cannot hit an ordinary word.

Belongs here: what a secret's place looks like, and which values may be searched for. Does not belong here: which
secrets there are (`urls`, `gateway.redaction`).
"""

import re
from collections.abc import Iterable

MASK = "[redacted]"

LONG = 16
"""Characters from which a value is no part of a word, a number or a date, whatever it is made of."""
MIXED = 8
"""Characters from which that holds for a value of letters and something else, which no word is."""

_NAMES = "password|passwd|sslpassword|api_?-?keys?|access_?-?key|token|secret"
_PLACES = (
    re.compile(r"(?i)(?P<before>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)(?!\d+[/?#])\S+(?=@)"),  # scheme://user:password@host
    re.compile(rf"(?i)(?P<before>\b(?:{_NAMES})=)(?!\[redacted\])('(?:[^'\\]|\\.)*'|[^\s&,;'\"]+)"),  # key word, query
    re.compile(rf'(?i)(?P<before>"(?:{_NAMES})"\s*:\s*")(?!\[redacted\])(?:[^"\\]|\\.)+'),  # JSON
    re.compile(r"(?i)(?P<before>\bauthorization:\s*(?:basic|bearer|apikey)\s+)(?!\[redacted\])\S+"),
)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without what stands in the place of a secret, and without `secrets` that may be searched for."""
    for secret in secrets:
        if is_searchable(secret):
            text = text.replace(secret, MASK)
    for place in _PLACES:
        text = place.sub(rf"\g<before>{MASK}", text)
    return text


def is_searchable(secret: str) -> bool:
    """Whether `secret` can be replaced wherever it appears: `pass` would blacken "passed", and tell what it is."""
    letters = sum(character.isalpha() for character in secret)
    return len(secret) >= LONG or (len(secret) >= MIXED and 0 < letters < len(secret))
