"""The one way out: breaker, limit, send, read the answer, count, try again.

Belongs here: the order of these steps for one HTTP request, whichever client library makes it. Does not belong here:
HTTP itself (the sessions) or what an answer means (the provider's policy).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from financehub_dagster.gateway.breaker import Breaker
from financehub_dagster.gateway.call import Call
from financehub_dagster.gateway.errors import BurstLimit, ProviderError
from financehub_dagster.gateway.policy import Policy
from financehub_dagster.gateway.reply import Reply
from financehub_dagster.gateway.retry import Budget, retrying
from financehub_dagster.storage import limits, usage
from financehub_dagster.storage.engine import Engine, market_engine


@dataclass(frozen=True, slots=True)
class Exchange[R]:
    """How a session performs one try: send(seconds) returns its library's response, reply_of makes it neutral."""

    send: Callable[[float], R]
    reply_of: Callable[[R], Reply]


@dataclass(frozen=True, slots=True)
class Governor:
    """Sends the requests of one vendor under its policy; limits, breakers and counts live in `engine`'s database."""

    policy: Policy
    engine: Callable[[], Engine] = market_engine

    def perform[R](self, call: Call, path: str, exchange: Exchange[R]) -> R:
        """One request, tried as often as the policy allows; returns a usable response or raises ProviderError."""
        request = _Request(self, call, path, exchange)
        controller = retrying(self.policy.patience, request.budget, request.worth_another_try, request.pausing)
        try:
            return controller(request.attempt)
        except ProviderError as error:
            request.give_up(error)
            raise error from None


class _Request[R]:
    """The state of one request between its tries."""

    def __init__(self, governor: Governor, call: Call, path: str, exchange: Exchange[R]) -> None:
        self.policy = governor.policy
        self.engine = governor.engine
        self.call = call
        self.weight = self.policy.meaning.weight(path)
        self.exchange = exchange
        self.budget = Budget(self.policy.patience.budget)
        policy = self.policy
        self.breaker = Breaker(self.engine, policy.provider, call.capability, policy.breaker, policy.place)
        self.probes: tuple[str, ...] = ()
        self.sent = False

    def attempt(self) -> R:
        """Wait for a slot, send, and read the answer; raises ProviderError."""
        self.sent = False
        self.breaker.check(self.call.symbol)
        self._wait_for_slot()
        self.probes = self.breaker.admit(self.call.symbol)
        self.sent = True
        self.budget.start()
        self.call.requests += 1
        outcome = usage.ABORTED
        try:
            response = self.exchange.send(min(self.policy.patience.total, max(self.budget.left, 0.1)))
            reply = self.exchange.reply_of(response)
            self.call.answered_at = reply.server_time
            error = self.policy.meaning.refusal(reply)
            if error is not None:
                raise error
            outcome = usage.OK
        except ProviderError as error:
            outcome = type(error).__name__
            raise
        finally:
            usage.count(self.engine(), self.policy.provider, self.policy.account(), outcome, self.weight)
        self.breaker.answered(self.probes)
        self._hold_limits(self.policy.meaning.pause(reply))
        return response

    def _wait_for_slot(self) -> None:
        policy = self.policy
        bound = min(policy.patience.max_wait, self.budget.left) if self.budget.started else policy.patience.max_wait
        slot = limits.reserve(
            self.engine(),
            policy.provider,
            policy.account(),
            policy.limits,
            weight=self.weight,
            max_wait=max(bound, 0.0),
        )
        if not slot.granted:
            until = datetime.now(UTC) + timedelta(seconds=slot.wait)
            message = f"our own limit has no free slot before {until:%H:%M:%S} UTC"
            raise BurstLimit(policy.provider, message, symbol=self.call.symbol, retry_after=slot.wait, until=until)
        time.sleep(slot.wait)

    def worth_another_try(self, error: ProviderError) -> bool:
        """A probe gets one try; what was never sent would be refused again."""
        return error.retryable and self.sent and not self.probes

    def pausing(self, error: ProviderError, seconds: float) -> None:
        """A vendor that says "too many" means every process behind this address: nobody gets a slot meanwhile."""
        if isinstance(error, BurstLimit):
            self._hold_limits(seconds)

    def _hold_limits(self, seconds: float) -> None:
        if seconds > 0:
            limits.hold(self.engine(), self.policy.provider, self.policy.account(), self.policy.limits, seconds)

    def give_up(self, error: ProviderError) -> None:
        """Tell the breaker how the request ended; what never left says nothing about the vendor."""
        if not self.sent:
            return
        if self.breaker.is_failure(error):
            self.breaker.failed(error)
        else:
            self.breaker.answered(self.probes)
