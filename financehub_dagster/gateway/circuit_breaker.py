"""The circuit breaker of one vendor and capability.

Belongs here: which outcomes open and close it. Does not belong here: its state, which every process shares in storage.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from financehub_dagster.gateway.errors import (
    Banned,
    BreakerOpen,
    BurstLimit,
    Limited,
    OverrideDown,
    ProviderError,
    QuotaSpent,
    Transient,
)
from financehub_dagster.gateway.pausing import pause
from financehub_dagster.gateway.policy import BreakerSettings
from financehub_dagster.storage.rate_limits import circuit_breakers

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Engine

FRESH_SECONDS = 0.05
"""For how long a breaker that was seen closed counts as closed: a call in flight is not called back either."""
PROBE_WAIT = 3.0
"""Other calls wait for a probe's answer until it has been under way for so many seconds."""
LOOK_SECONDS = 0.1

_seen_closed: "WeakKeyDictionary[Engine, dict[tuple[str, str], float]]" = WeakKeyDictionary()
"""When this process last found all breakers in the way of a capability closed, until a failure of its own."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens after failures in a row, or at once and for all of a provider when the vendor asks for silence.

    place is that of a base URL override, whose failures are not the vendor's.
    """

    engine: Callable[[], "Engine"]
    provider: str
    capability: str
    settings: BreakerSettings
    place: str = ""

    @property
    def own(self) -> str:
        """The breaker of the capability, at this place."""
        return self.capability + self.place

    @property
    def _all(self) -> str:
        return circuit_breakers.ANY + self.place

    def check(self, symbol: str | None = None, patience: float = 0.0) -> None:
        """Raise BreakerOpen when calls are held back; claims nothing.

        Waits for the answer to another call's probe until that has been under way for `patience` seconds.
        """
        if self._is_fresh():
            return
        engine, end = self.engine(), time.monotonic() + patience
        while True:
            looked_at = time.monotonic()
            admission = circuit_breakers.look(engine, self.provider, (self.own, self._all))
            if not self._is_awaited(admission, patience) or looked_at >= end:
                break
            pause(LOOK_SECONDS)
        if admission.probe_left is not None:
            return  # it may have its answer by the time that this call has a slot
        self._refuse(admission, symbol)
        if not admission.probes:
            _seen_closed.setdefault(engine, {})[self.provider, self.own] = looked_at

    def admit(self, symbol: str | None = None, patience: float = 0.0) -> tuple[str, ...] | None:
        """Ask to send one call now, and return the half-open breakers it is the probe of; raises BreakerOpen.

        None where another call's probe has been under way for less than `patience` seconds: `check` waits for it.
        """
        if self._is_fresh():
            return ()
        where = (self.own, self._all)
        admission = circuit_breakers.admit(self.engine(), self.provider, where, self.settings.probe_seconds)
        if self._is_awaited(admission, patience):
            return None
        self._refuse(admission, symbol)
        return admission.probes

    def _is_awaited(self, admission: circuit_breakers.Admission, patience: float) -> bool:
        left = admission.probe_left
        return left is not None and self.settings.probe_seconds - left < patience

    def _is_fresh(self) -> bool:
        seen = _seen_closed.get(self.engine(), {}).get((self.provider, self.own))
        return seen is not None and time.monotonic() - seen < FRESH_SECONDS

    def _refuse(self, admission: circuit_breakers.Admission, symbol: str | None) -> None:
        if admission.until is None:
            return
        until = admission.until.astimezone(UTC)
        wait = max((until - datetime.now(UTC)).total_seconds(), 0.0)
        message = f"not asked before {until:%Y-%m-%d %H:%M:%S} UTC: {admission.reason}"
        raise BreakerOpen(self.provider, message, symbol=symbol, retry_after=wait, until=until)

    def answered(self, probes: tuple[str, ...]) -> None:
        """The vendor answered this call, if only to say that it cannot serve it."""
        circuit_breakers.succeed(self.engine(), self.provider, self.own, probes)

    def failed(self, error: ProviderError) -> None:
        """This call is given up for now; a limit without an end is respected for longer each time it is met."""
        limited = isinstance(error, Limited)
        certain = limited or isinstance(error, OverrideDown)
        if isinstance(error, Limited) and error.retry_after is not None:
            circuit_breakers.hold(self.engine(), self.provider, self._all, str(error), error.retry_after)
        else:
            circuit_breakers.fail(
                self.engine(),
                self.provider,
                self._all if limited else self.own,
                str(error),
                threshold=1 if certain else self.settings.threshold,
                open_seconds=self.settings.open_seconds,
            )
        _seen_closed.pop(self.engine(), None)

    @staticmethod
    def is_failure(error: ProviderError) -> bool:
        """Does this error speak against the vendor, rather than against what was asked?"""
        return isinstance(error, Transient | Banned | BurstLimit | QuotaSpent)
