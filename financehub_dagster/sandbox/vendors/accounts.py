"""Whose calls a vendor counts: keys, their plans and what each has left.

Belongs here: the books of one vendor. Does not belong here: the words in which it refuses, or how a request carries its
key.
"""

from collections import defaultdict
from dataclasses import replace
from threading import Lock
from typing import Literal

from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.vendors.limits import Counter, RateWindow

Plan = Literal["free", "paid"]


class Accounts:
    """The keys of one vendor; every key that nobody declared invalid is valid, on the free plan, with its own budget.

    `free`, `paid` and `keyless` are the windows of these plans, the one that people think of first in front. Calls
    without a key share one account, as they would by IP address.
    """

    def __init__(
        self,
        free: tuple[RateWindow, ...],
        paid: tuple[RateWindow, ...] = (),
        keyless: tuple[RateWindow, ...] | None = None,
    ) -> None:
        self._plans: dict[str, tuple[RateWindow, ...]] = {"free": free, "paid": paid}
        self._keyless = free if keyless is None else keyless
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Nothing used, every key valid and free, the vendor's own limits."""
        self._invalid: set[str] = set()
        self._paid: set[str] = set()
        self._overrides: dict[float, int] = {}
        self._counters: defaultdict[tuple[str | None, float], Counter] = defaultdict(Counter)

    def declare(self, key: str, valid: bool, plan: Plan) -> None:
        """Say what a key is."""
        (self._invalid.discard if valid else self._invalid.add)(key)
        (self._paid.add if plan == "paid" else self._paid.discard)(key)

    def valid(self, key: str) -> bool:
        """Whether the vendor accepts the key."""
        return key not in self._invalid

    def plan(self, key: str | None) -> Plan:
        """The plan of a key; no key is on the free one."""
        return "paid" if key in self._paid else "free"

    def limit(self, calls: int | None, window_seconds: float | None) -> None:
        """Enforce `calls` in windows of that length, whether the vendor has one or not; None: the vendor's own again.

        Without a length the vendor's first window is meant.
        """
        if calls is None:
            self._overrides = {}
        else:
            self._overrides[self._plans["free"][0].seconds if window_seconds is None else window_seconds] = calls

    def windows(self, key: str | None) -> list[RateWindow]:
        """The windows that bind a key, with the limits now in force."""
        own = self._keyless if key is None else self._plans[self.plan(key)]
        changed = [replace(each, amount=self._overrides.get(each.seconds, each.amount)) for each in own]
        known = {each.seconds for each in own}
        return changed + [
            RateWindow(seconds, calls) for seconds, calls in self._overrides.items() if seconds not in known
        ]

    def window(self, key: str | None, seconds: float) -> RateWindow:
        """The window of that length; raises SandboxError where the key's plan has none."""
        for window in self.windows(key):
            if window.seconds == seconds:
                return window
        raise SandboxError(f"no window of {seconds} seconds")

    def admit(self, key: str | None, weight: int, at: float) -> RateWindow | None:
        """Count a call of `weight`, or say which window it breaks; the longest speaks first."""
        with self._lock:
            windows = sorted(self.windows(key), key=lambda window: -window.seconds)
            broken = None
            for window in windows:
                cost = weight if window.weighted else 1
                if cost and self._counters[key, window.seconds].used(window, at) + cost > window.amount:
                    broken = window
                    break
            for window in windows:
                if broken is None or (window is broken and window.counts_refused):
                    self._counters[key, window.seconds].add(weight if window.weighted else 1, at)
            return broken

    def refund(self, key: str | None, weight: int, at: float) -> None:
        """Give back the credits of a call that came to nothing; the request itself stays counted."""
        with self._lock:
            for window in self.windows(key):
                if window.weighted:
                    self._counters[key, window.seconds].add(-weight, at)

    def used(self, key: str | None, seconds: float, at: float) -> int:
        """What a key has used in its window of that length."""
        with self._lock:
            return self._counters[key, seconds].used(self.window(key, seconds), at)

    def resets_at(self, key: str | None, seconds: float, at: float) -> float:
        """When its window of that length is over, UTC epoch seconds."""
        with self._lock:
            return self._counters[key, seconds].resets_at(self.window(key, seconds), at)
