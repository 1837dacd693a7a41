"""Reading single values out of vendors' documents.

Belongs here: numbers and times as vendors write them, read once and exactly. Does not belong here: which field holds
what. Whatever cannot be read raises ValueError, which `rest.answer_of` turns into Malformed.
"""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

MISSING = frozenset({"", "-", "None", "null", "N/A"})
"""How vendors write that they do not know."""


class OtherQuestion(ValueError):
    """The answer is to another question than was asked: asking again would give the same."""


def number(value: Any) -> float:
    """The double nearest to a number or to the decimal in a string; raises ValueError for anything else, NaN too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a number")
    try:
        found = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is not a finite number")
    return found


def price(value: Any) -> float:
    """A number above zero."""
    found = number(value)
    if found <= 0:
        raise ValueError(f"{value!r} is not a price")
    return found


def maybe(value: Any, power: int = 0) -> float:
    """A number, its point moved by `power` of ten; NaN where the vendor does not know it; else raises ValueError."""
    if value is None or (isinstance(value, str) and value.strip() in MISSING):
        return math.nan
    found = number(value)
    return float(Decimal(repr(found)).scaleb(power)) if power else found


def maybe_price(value: Any, power: int = 0) -> float:
    """Like `maybe`; a zero, as vendors write it before the day's first trade, is no price but unknown."""
    return maybe(value, power) or math.nan


def text(value: Any) -> str | None:
    """A text without the space around it; None where there is none."""
    return (str(value).strip() or None) if value is not None and value not in MISSING else None


def day(value: Any) -> date:
    """A date out of YYYY-MM-DD, whatever follows it."""
    return date.fromisoformat(str(value)[:10])


def instant(value: Any) -> datetime:
    """An ISO 8601 time in UTC; one without zone is UTC."""
    found = datetime.fromisoformat(str(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def epoch(value: Any) -> datetime:
    """Seconds since 1970 in UTC."""
    return datetime.fromtimestamp(number(value), UTC)


def session_of(value: Any, timezone: str) -> date:
    """The session whose midnight is at these epoch seconds: midnight in UTC, or in the exchange's own timezone."""
    moment = epoch(value)
    return moment.date() if moment.timestamp() % 86_400 == 0 else moment.astimezone(ZoneInfo(timezone)).date()


def member(document: Any, *path: str) -> Any:
    """What a document of nested objects holds at `path`; raises ValueError naming what is missing."""
    for name in path:
        if not isinstance(document, Mapping) or name not in document:
            raise ValueError(f"the answer has no {name!r}")
        document = document[name]
    return document
