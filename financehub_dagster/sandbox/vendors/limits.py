"""How the vendors count calls.

Belongs here: windows of time and the counting in them. Does not belong here: the limits themselves, which stand in each
vendor's file, or whose calls are counted (accounts).
"""

from calendar import monthrange
from collections import deque
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

#: How much earlier than a window of a second allows a call may arrive: the wire's jitter, which no vendor polices.
JITTER_SECONDS = 0.1
_DAY_SECONDS = 86_400
_MONTH_SECONDS = 2_592_000

Kind = Literal["burst", "day_quota", "month_quota"]


@dataclass(frozen=True, slots=True)
class RateWindow:
    """At most `amount` per `seconds`, sliding, or from one full UTC minute, or day or month of `zone`, to the next.

    weighted: credits are counted and not requests. counts_refused: going on after a breach uses up still more. jitter:
    so many seconds early a call may come.
    """

    seconds: float
    amount: int
    aligned: bool = False
    weighted: bool = False
    counts_refused: bool = False
    zone: str = "UTC"
    jitter: float = 0.0

    @property
    def kind(self) -> Kind:
        """What a breach of it is called."""
        if self.seconds <= 3600:
            return "burst"
        return "day_quota" if self.seconds < _MONTH_SECONDS else "month_quota"

    def start(self, at: float) -> float:
        """When the window that `at` lies in began."""
        if not self.aligned:
            return at - (self.seconds - self.jitter)
        if self.seconds < _DAY_SECONDS:
            return at - at % self.seconds
        return self._first_day(at).timestamp()

    def end(self, at: float) -> float:
        """When the aligned window that `at` lies in ends."""
        if self.seconds < _DAY_SECONDS:
            return self.start(at) + self.seconds
        days = 1 if self.seconds < _MONTH_SECONDS else monthrange(*self._first_day(at).timetuple()[:2])[1]
        return (self._first_day(at) + timedelta(days=days)).timestamp()

    def _first_day(self, at: float) -> datetime:
        """Midnight of the day, or of the first of the month, on the clock at `zone`."""
        midnight = datetime.combine(datetime.fromtimestamp(at, ZoneInfo(self.zone)).date(), time(), ZoneInfo(self.zone))
        return midnight if self.seconds < _MONTH_SECONDS else midnight.replace(day=1)


class Counter:
    """What was used within one window, as (UTC epoch seconds, weight) in order."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, window: RateWindow, at: float) -> int:
        """The weight used in the window of `at`."""
        start = window.start(at)
        while self._entries and (self._entries[0][0] < start or (not window.aligned and self._entries[0][0] <= start)):
            self._used -= self._entries.popleft()[1]
        return self._used

    def add(self, weight: int, at: float) -> None:
        """Count `weight`, which may be negative to give back what was counted in vain."""
        self._entries.append((at, weight))
        self._used += weight

    def resets_at(self, window: RateWindow, at: float) -> float:
        """When something, or in an aligned window everything, is forgotten."""
        if window.aligned:
            return window.end(at)
        return self._entries[0][0] + window.seconds if self._entries else at
