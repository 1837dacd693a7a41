"""Keys that nobody may ever see, and the search for them in every spelling.

Belongs here: the canaries and how a text is searched. Does not belong here: where texts come from (overheard).
"""

import base64
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from financehub_dagster_tests.faults.bad_days.bad_days import KEYED

if TYPE_CHECKING:
    from financehub_dagster_tests.faults.canary.overheard import Overheard

_NAMES = {vendor: sha256(vendor.encode()).hexdigest() for vendor in KEYED}
KEYS = {vendor: f"cN/{name[:7]}+{name[7:14]}~=%2B&?:{name[14:20]}9q" for vendor, name in _NAMES.items()}
"""One for each vendor, of characters that every encoding writes differently."""
PIECE = 9
"""A piece of a key of this length is found too: more of it than a fingerprint shows."""


def spellings(key: str) -> set[str]:
    """Every way in which a text may hold `key`, or enough of it."""
    found = {key[start : start + PIECE] for start in range(len(key) - PIECE + 1)}
    found |= {quote(key, safe=""), quote(key), quote_plus(key), quote(quote(key, safe=""), safe="")}
    for alignment in range(3):
        raw = b"\0" * alignment + key.encode()
        # Without the characters that also hold bits of what stands before or after the key.
        first, last = -(-alignment * 8 // 6), len(raw) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(raw).decode()[first:last])
    return found


SPELLINGS = {vendor: spellings(key) for vendor, key in KEYS.items()}


def seen(texts: Iterable[str]) -> list[str]:
    """The vendors whose canary is in one of the texts, each with the text around it."""
    found = []
    for text in texts:
        for vendor, forms in SPELLINGS.items():
            for form in forms:
                if (at := text.find(form)) >= 0:
                    found.append(f"{vendor}: {text[max(at - 60, 0) : at + len(form) + 20]!r}")
                    break
    return found


def assert_unseen(overheard: "Overheard", *heard: str) -> None:
    """No key on any surface; something was said on those that `heard` names, and on the tables of the gateway."""
    for surface in (*heard, "logs", "table api_keys", "table api_usage"):
        assert overheard.texts.get(surface), f"nothing was heard on {surface}"
    for surface, texts in overheard.texts.items():
        assert seen(texts) == [], surface
