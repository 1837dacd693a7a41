"""Whose limits a try uses: those of this address, or of one of the provider's keys.

Belongs here: choosing the key, waiting for its slot, and benching keys. Does not belong here: sending, and how often a
request is tried (the client).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from financehub_dagster.gateway.api_keys import Key, not_configured
from financehub_dagster.gateway.errors import BadKey, Banned, BurstLimit, Limited, NotInPlan, ProviderError, QuotaSpent
from financehub_dagster.gateway.pausing import pause
from financehub_dagster.gateway.policy import Policy
from financehub_dagster.storage.rate_limits import api_keys, limiter
from financehub_dagster.storage.rate_limits.limiter import Limit, Slot
from financehub_dagster.storage.rate_limits.quotas import Quota

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Engine

BAD_KEY_SECONDS = 86_400.0
"""A refused key is not tried again for a day; a key that is replaced is another one from the first moment."""
QUOTA_SECONDS = 3_600.0
"""How long a key rests whose quota is spent until nobody knows when."""
NEARLY = 2.0
"""Seconds beyond the longest wait for which a caller looks again instead of giving up."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts at one provider, for work on `symbol`."""

    policy: Policy
    engine: Callable[[], "Engine"]
    symbol: str | None = None

    def enter(self, weight: int, max_wait: float) -> Key | None:
        """Wait for the next slot there is and return the key it belongs to, None where the vendor counts the address.

        Sleeps up to `max_wait` seconds; raises Limited, BadKey or NotConfigured when there is no slot by then.
        """
        end = time.monotonic() + max_wait
        if self.policy.auth is None:
            self._keep(self._slot(None, weight, max_wait), None, weight, end)
            return None
        if not self.policy.keys:
            raise not_configured(self.policy.provider)
        key, slot = self._least_used(weight, max_wait)
        api_keys.use(self.engine(), self.policy.provider, self.policy.account(key), weight)
        self._keep(slot, key, weight, end)
        return key

    def enter_again(self, key: Key | None, weight: int, max_wait: float) -> None:
        """Wait for another slot in place of one that was let pass; booked on no budget again.

        The quota of a minute is booked again: the call leaves later than its first booking counts for.
        """
        end = time.monotonic() + max_wait
        slot = self._reserve(key, [quota for quota in self.policy.quotas if not quota.is_long], weight, max_wait)
        if not slot.granted:
            raise self._refusal(slot)
        self._keep(slot, key, weight, end)

    def _keep(self, slot: Slot, key: Key | None, weight: int, end: float) -> None:
        """Wait for the slot; one that is taken in its place is paced anew, and booked on no quota again.

        A machine that sleeps through one slot after the other has to give up like any other caller.
        """

        def another() -> Slot:
            left = max(end + NEARLY - time.monotonic(), 0.0)
            taken = self._reserve(key, (), weight, left)
            if not taken.granted or not left:
                raise self._refusal(taken)
            return taken

        keep_slot(slot, self.policy.limits, another)

    def _least_used(self, weight: int, max_wait: float) -> tuple[Key, Slot]:
        """The first key in order that has room now, else the one that has room first."""
        free = self._free(max_wait)
        if len(free) == 1:
            return free[0], self._slot(free[0], weight, max_wait)
        waits = []
        for key in free:
            slot = self._try_slot(key, weight, 0.0)
            if slot.granted:
                return key, slot
            waits.append(slot.wait)
        soonest = free[waits.index(min(waits))]
        return soonest, self._slot(soonest, weight, max_wait)

    def _free(self, max_wait: float) -> list[Key]:
        """The keys that are not benched, waiting for the first of them if that is soon; raises when none is in time."""
        while True:
            states = self._states()
            free = [key for key, state in states if state.until is None]
            if free:
                return free
            resting = [state for _, state in states if state.cause != BadKey.__name__]
            soonest = min(resting, key=lambda state: state.wait, default=None)
            if soonest is None:
                told = "; ".join(f"{state.scope}: {state.reason}" for _, state in states)
                raise BadKey(self.policy.provider, f"no key is accepted ({told}): replace it", symbol=self.symbol)
            if soonest.wait > max_wait:
                raise self._resting(soonest)
            pause(soonest.wait)

    def _states(self) -> list[tuple[Key, api_keys.KeyState]]:
        by_account = {self.policy.account(key): key for key in self.policy.keys}
        states = api_keys.in_order(self.engine(), self.policy.provider, list(by_account))
        return [(by_account[state.scope], state) for state in states]

    def _resting(self, state: api_keys.KeyState) -> Limited:
        kinds: dict[str | None, type[Limited]] = {each.__name__: each for each in (QuotaSpent, Banned, BurstLimit)}
        until = datetime.now(UTC) + timedelta(seconds=state.wait)
        message = f"no key before {until:%Y-%m-%d %H:%M:%S} UTC ({state.scope}: {state.reason})"
        kind = kinds.get(state.cause, Banned)
        return kind(self.policy.provider, message, symbol=self.symbol, retry_after=state.wait, until=until)

    def _slot(self, key: Key | None, weight: int, max_wait: float) -> Slot:
        """A slot within `max_wait` seconds; raises BurstLimit or QuotaSpent when there is none."""
        slot = self._try_slot(key, weight, max_wait)
        # A minute's quota that was just spent is free again in little more than a minute: too late for a caller that
        # may wait for a minute, in time for one that looks again in a moment.
        if not slot.granted and slot.wait <= max_wait + NEARLY and max_wait > NEARLY:
            pause(slot.wait - max_wait + 0.1)
            slot = self._try_slot(key, weight, max_wait)
        if not slot.granted:
            raise self._refusal(slot)
        return slot

    def _try_slot(self, key: Key | None, weight: int, max_wait: float) -> Slot:
        policy = self.policy
        for quota in policy.quotas:
            if quota.weighted and weight > quota.amount:
                problem = f"one request costs {weight}, and the plan has {quota.amount} per {quota.name}"
                raise NotInPlan(policy.provider, problem, symbol=self.symbol)
        return self._reserve(key, policy.quotas, weight, max_wait)

    def _reserve(self, key: Key | None, quotas: Sequence[Quota], weight: int, max_wait: float) -> Slot:
        account, limits = self.policy.account(key), self.policy.limits
        return limiter.reserve(
            self.engine(), self.policy.provider, account, limits, quotas, weight=weight, max_wait=max_wait
        )

    def _refusal(self, slot: Slot) -> Limited:
        until = datetime.now(UTC) + timedelta(seconds=slot.wait)
        spent = next((quota for quota in self.policy.quotas if quota.name == slot.quota), None)
        if spent is not None and spent.is_long:
            message = f"our quota of {spent.amount} per {spent.name} is spent until {until:%Y-%m-%d %H:%M:%S} UTC"
            return QuotaSpent(self.policy.provider, message, symbol=self.symbol, retry_after=slot.wait, until=until)
        message = f"our own limit has no free slot before {until:%H:%M:%S} UTC"
        return BurstLimit(self.policy.provider, message, symbol=self.symbol, retry_after=slot.wait, until=until)

    def bench(self, key: Key, error: ProviderError, at_least: float = 0.0) -> bool:
        """Let `key` rest for what `error` says, if that is about the key; may another key go on?"""
        rest = rest_of(error)
        if rest is None:
            return False
        api_keys.bench(
            self.engine(),
            self.policy.provider,
            self.policy.account(key),
            cause=type(error).__name__,
            reason=str(error),
            seconds=max(rest, at_least),
        )
        return any(state.until is None and other != key for other, state in self._states())


def rest_of(error: ProviderError) -> float | None:
    """Seconds for which the key that met this error rests at least; None when the error is not about the key."""
    if isinstance(error, BadKey):
        return BAD_KEY_SECONDS
    if isinstance(error, QuotaSpent):
        return error.retry_after or QUOTA_SECONDS
    if isinstance(error, BurstLimit):
        return error.retry_after or 0.0
    return None


def keep_slot(slot: Slot, limits: Sequence[Limit], another: Callable[[], Slot]) -> None:
    """Sleep until `slot`; where that was slept through, until `another` one, which raises when there is none.

    Slots lie as close together as the limit allows. A process that is not given the processor in time would send its
    call together with those of the next slots, and the vendor would count one too many in its window.
    """
    tolerance = min((limit.tolerance for limit in limits), default=math.inf)
    while True:
        pause(slot.wait)
        if time.monotonic() <= slot.due + tolerance:
            return
        slot = another()
