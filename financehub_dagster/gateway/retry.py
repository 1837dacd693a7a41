"""Trying a request again, within bounds.

Belongs here: which errors are worth another try, how long to pause, and when to give up. Does not belong here: what a
try does. Retries across runs belong to the dead letters.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential_jitter
from tenacity.wait import wait_base

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.gateway.pausing import pause
from financehub_dagster.gateway.policy import Timeouts


@dataclass(slots=True)
class Deadline:
    """The time one request may take in all; it starts to run with the first try that is sent."""

    seconds: float
    started: float | None = None

    def start(self) -> None:
        """Begin to count, once."""
        if self.started is None:
            self.started = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that remain."""
        return self.seconds if self.started is None else self.seconds - (time.monotonic() - self.started)


class _Pause(wait_base):
    """Exponential with jitter, and never shorter than the vendor's Retry-After; none where `at_once` says so."""

    def __init__(self, timeouts: Timeouts, at_once: Callable[[], bool]) -> None:
        self._at_once = at_once
        self._exponential = wait_exponential_jitter(
            multiplier=timeouts.first_pause, max=timeouts.longest_pause, jitter=timeouts.jitter
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        if self._at_once():
            return 0.0
        error = _error(retry_state)
        return max(self._exponential(retry_state), (error and error.retry_after) or 0.0)


def _error(state: RetryCallState) -> ProviderError | None:
    error = None if state.outcome is None else state.outcome.exception()
    return error if isinstance(error, ProviderError) else None


def retrying(
    timeouts: Timeouts,
    deadline: Deadline,
    worth_another_try: Callable[[ProviderError], bool],
    at_once: Callable[[], bool],
    before_pause: Callable[[ProviderError, float], None],
) -> Retrying:
    """A tenacity controller; when it gives up, the last error is raised as it was.

    A pause that would not fit into what is left of the deadline is not begun.
    """

    def again(state: RetryCallState) -> bool:
        error = _error(state)
        return error is not None and worth_another_try(error)

    def out_of_time(state: RetryCallState) -> bool:
        return state.upcoming_sleep >= deadline.left

    def announce(state: RetryCallState) -> None:
        error = _error(state)
        if error is not None:
            before_pause(error, state.upcoming_sleep)

    tries = stop_after_attempt(timeouts.tries)
    return Retrying(
        stop=lambda state: tries(state) or out_of_time(state),
        wait=_Pause(timeouts, at_once),
        retry=again,
        sleep=pause,
        before_sleep=announce,
        reraise=True,
    )
