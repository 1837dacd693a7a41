"""How the vendors count calls.

Belongs here: counting by fixed minute and by sliding window. Does not belong here: the limits, which stand in each
vendor's file.
"""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class FixedMinute:
    """Weight used in the running UTC minute."""

    minute: int = 0
    used: int = 0

    def add(self, weight: int, at: float) -> int:
        """Count `weight` at UTC epoch seconds `at`; the weight used in this minute so far."""
        self.used = self.at(at) + weight
        self.minute = int(at // 60)
        return self.used

    def at(self, at: float) -> int:
        """The weight used in the minute of `at`."""
        return self.used if self.minute == int(at // 60) else 0


@dataclass(slots=True)
class SlidingWindow:
    """At most `calls` in any window of `seconds`; refused calls do not count."""

    calls: int
    seconds: float
    _admitted: deque[float] = field(default_factory=deque)

    def admit(self, at: float) -> bool:
        """Whether one more call fits at UTC epoch seconds `at`."""
        while self._admitted and self._admitted[0] <= at - self.seconds:
            self._admitted.popleft()
        if len(self._admitted) >= self.calls:
            return False
        self._admitted.append(at)
        return True
