"""The one way out: breaker, limit, send, read the answer, count, try again.

Belongs here: the order of these steps for one HTTP request, whichever client library makes it. Does not belong here:
HTTP itself (the sessions) or what an answer means (the provider's policy).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from financehub_dagster.gateway.api_keys import NO_CREDENTIALS, Credentials, Key
from financehub_dagster.gateway.circuit_breaker import PROBE_WAIT, Breaker
from financehub_dagster.gateway.deadline import within_deadline
from financehub_dagster.gateway.errors import BreakerOpen, BurstLimit, ProviderError, Transient
from financehub_dagster.gateway.policy import Policy
from financehub_dagster.gateway.request_context import Call
from financehub_dagster.gateway.response import Reply
from financehub_dagster.gateway.retry import Deadline, retrying
from financehub_dagster.gateway.throttle import Accounts, rest_of
from financehub_dagster.storage.rate_limits import limiter, quotas, usage

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Engine


def _market_engine() -> "Engine":
    from financehub_dagster.storage.database.engine import market_engine

    return market_engine()


type Send[R] = Callable[[float, Credentials], tuple[R, Reply]]
"""How a session performs one try, within seconds: its library's response, and the same made neutral."""


@dataclass(frozen=True, slots=True)
class VendorClient:
    """Sends the requests of one vendor under its policy; limits, breakers and counts live in `engine`'s database."""

    policy: Policy
    engine: Callable[[], "Engine"] = _market_engine

    def perform[R](self, call: Call, path: str, send: Send[R]) -> R:
        """One request, tried as often as the policy allows; returns a usable response or raises ProviderError."""
        request = _Request(self, call, path, send)
        controller = retrying(
            request.timeouts, request.deadline, request.worth_another_try, lambda: request.rotates, request.pausing
        )
        try:
            return controller(request.attempt)
        except ProviderError as last:
            error = request.reason(last)
            request.give_up(error)
            error.__context__ = None  # `from None` only hides what it came from, which may hold the address and the key
            raise error from None


class _Request[R]:
    """The state of one request between its tries."""

    def __init__(self, client: VendorClient, call: Call, path: str, send: Send[R]) -> None:
        policy = client.policy
        self.policy = policy
        self.engine = client.engine
        self.call = call
        self.weight = policy.meaning.weight(path)
        self.send = send
        self.timeouts = within_deadline(policy.timeouts)
        self.deadline = Deadline(self.timeouts.deadline)
        self.breaker = Breaker(self.engine, policy.provider, call.capability, policy.breaker, policy.place)
        self.accounts = Accounts(policy, self.engine, call.symbol)
        self.key: Key | None = None
        self.probes: tuple[str, ...] = ()
        self.sent = False
        self.rotates = False
        self.answered: Transient | None = None
        self.reply: Reply | None = None

    def attempt(self) -> R:
        """Wait for a slot, send, and read the answer; raises ProviderError."""
        self.sent, self.reply = False, None
        self.probes = self._enter()
        self.sent = True
        self.deadline.start()
        self.call.count()
        outcome = usage.ABORTED
        try:
            response, reply = self.send(self._seconds(), self._credentials())
            self.call.reply = self.reply = reply
            error = self.policy.meaning.refusal(reply)
            if error is not None:
                raise error
            outcome = usage.OK
        except ProviderError as error:
            outcome = type(error).__name__
            self.answered = error if isinstance(error, Transient) else None
            raise
        finally:
            self._count(outcome)
        if self.probes:
            self.breaker.answered(self.probes)
        self._settle(reply)
        return response

    def _enter(self) -> tuple[str, ...]:
        """Wait for a slot; returns the half-open breakers that the call is the probe of."""
        symbol, patience = self.call.symbol, min(PROBE_WAIT, self.deadline.left)
        self.breaker.check(symbol, patience)
        self.key = self.accounts.enter(self.weight, self._longest_wait())
        probes = self.breaker.admit(symbol, patience)
        if probes is None:  # another call became the probe meanwhile
            self.breaker.check(symbol, patience)
            self.accounts.enter_again(self.key, self.weight, self._longest_wait())
            probes = self.breaker.admit(symbol)
        return probes or ()

    def _count(self, outcome: str) -> None:
        provider, offset = self.policy.provider, None if self.reply is None else self.reply.clock_offset
        if outcome == usage.OK:
            usage.count_answered(self.engine(), provider, self._account, self.breaker.own, self.weight, offset)
        else:
            usage.count(self.engine(), provider, self._account, outcome, self.weight, offset)

    @property
    def _account(self) -> str:
        return self.policy.account(self.key)

    def _longest_wait(self) -> float:
        longest = self.timeouts.max_wait
        return max(min(longest, self.deadline.left), 0.0) if self.deadline.started else longest

    def _seconds(self) -> float:
        return min(self.timeouts.total, max(self.deadline.left, 0.1))

    def _credentials(self) -> Credentials:
        if self.key is None or self.policy.auth is None:
            return NO_CREDENTIALS
        return self.policy.auth.credentials(self.key)

    def _settle(self, reply: Reply) -> None:
        """Count as the vendor counts, and be silent for as long as a usable answer asks."""
        policy, meaning = self.policy, self.policy.meaning
        cost = meaning.cost(reply)
        if cost is not None:
            quotas.add(self.engine(), policy.provider, self._account, policy.quotas, cost - self.weight)
        quotas.correct(self.engine(), policy.provider, self._account, policy.quotas, meaning.readings(reply))
        pause = meaning.pause(reply)
        if pause > 0:
            self._hold_limits(pause)

    def worth_another_try(self, error: ProviderError) -> bool:
        """A probe gets one try, and what was never sent would be refused again; one key's trouble is not the next's."""
        if not self.sent:
            return False
        self.rotates = self.key is not None and self.accounts.bench(self.key, error, self.timeouts.first_pause)
        return (error.retryable or self.rotates) and not self.probes

    def pausing(self, error: ProviderError, seconds: float) -> None:
        """A vendor that says "too many" means every process of this account: nobody gets a slot meanwhile."""
        if isinstance(error, BurstLimit) and not self.rotates:
            self._hold(error, seconds)

    def _hold(self, error: ProviderError, seconds: float) -> None:
        if self.key is None:
            self._hold_limits(seconds)
        else:
            self.accounts.bench(self.key, error, seconds)

    def _hold_limits(self, seconds: float) -> None:
        limiter.hold(self.engine(), self.policy.provider, self._account, self.policy.limits, seconds)

    def reason(self, last: ProviderError) -> ProviderError:
        """Why there is no answer: where another try found no slot, what the one before it came to."""
        if self.sent or self.answered is None or not isinstance(last, BurstLimit | BreakerOpen):
            return last
        self.sent = True
        return self.answered

    def give_up(self, error: ProviderError) -> None:
        """Tell the breaker how the request ended; what never left, or is about one key, says nothing of the vendor."""
        if not self.sent:
            return
        about_key = self.key is not None and rest_of(error) is not None
        if about_key and isinstance(error, BurstLimit):
            self._hold(error, self.policy.breaker.open_seconds)
        if self.breaker.is_failure(error) and not about_key:
            self.breaker.failed(error)
        else:
            self.breaker.answered(self.probes)
