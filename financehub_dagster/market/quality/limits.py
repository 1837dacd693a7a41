"""What one value of a column may be: the form in which tables declare it and both judges of rows read it.

Belongs here: the limit of one column. Does not belong here: the limits of any table (tables), how values of one row
relate (`bar_rules`, `snapshot_rules`), judging rows before they are stored (`acceptance`) or afterwards (`schemas`).
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

ACTION_KINDS = ("dividend", "split", "capital_gain")
"""What a corporate action can be."""
CURRENCY = r"^[A-Z]{3}$"
"""ISO 4217."""


class Kind(StrEnum):
    """What a column holds: a finite number, a text that is not empty, a whole day, an instant, or something else."""

    NUMBER = "number"
    TEXT = "text"
    DAY = "day"
    INSTANT = "instant"
    FLAG = "flag"
    MAPPING = "mapping"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Limit:
    """What the values of a column are.

    optional: may it be unknown? A number is above `above`, at least `least` and at most `most`; a text matches
    `pattern` or is one of `choices`, which may be a function where reading them takes time.
    """

    kind: Kind
    optional: bool = False
    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf
    pattern: str | None = None
    choices: Collection[str] | Callable[[], Collection[str]] = ()

    @property
    def allowed(self) -> Collection[str]:
        """The texts it may be; empty where there is no list of them."""
        return self.choices() if callable(self.choices) else self.choices

    @property
    def rule(self) -> str:
        """The name of the rule that a value breaks which is not within the limit."""
        if self.kind is not Kind.NUMBER:
            return "one_of_those_known" if self.choices else "readable"
        if self.above == 0:
            return "positive"
        if self.least == 0:
            return "not_negative"
        return "finite" if self.least == -math.inf else f"at_least_{self.least:g}"
