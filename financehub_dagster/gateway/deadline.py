"""Shorter deadlines for work that another vendor could do.

Belongs here: a deadline for all requests of a block, whatever lies between. Does
not belong here: who else could do the work (the router).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from financehub_dagster.gateway.policy import Timeouts

_seconds: ContextVar[float | None] = ContextVar("financehub_deadline", default=None)


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Give each request of this block at most `seconds` from its first try on, and one more try; None: as usual.

    Waiting for a slot of our own is not shortened: a vendor that is asked slowly is not a vendor that is down.
    """
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


def within_deadline(timeouts: Timeouts) -> Timeouts:
    """`timeouts`, shortened where the current block has a deadline."""
    seconds = _seconds.get()
    if seconds is None:
        return timeouts
    return replace(
        timeouts,
        deadline=min(timeouts.deadline, seconds),
        tries=min(timeouts.tries, 2),
        connect=min(timeouts.connect, seconds / 2),
        first_pause=min(timeouts.first_pause, seconds / 10),
        jitter=min(timeouts.jitter, seconds / 10),
    )
