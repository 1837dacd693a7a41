"""Less patience for work that somebody else could do.

Belongs here: telling the requests of a block, past whatever lies between, that they may not take their usual time. Does
not belong here: who else could do the work (the router).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from financehub_dagster.gateway.policy import Patience

_seconds: ContextVar[float | None] = ContextVar("financehub_haste", default=None)


@contextmanager
def haste(seconds: float | None) -> Iterator[None]:
    """Give each request of this block at most `seconds` from its first try on, and one more try; None: as usual.

    Waiting for a slot of our own is not shortened: a vendor that is asked slowly is not a vendor that is down.
    """
    token = _seconds.set(seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


def in_haste(patience: Patience) -> Patience:
    """`patience`, shortened where the current block is in haste."""
    seconds = _seconds.get()
    if seconds is None:
        return patience
    return replace(
        patience,
        budget=min(patience.budget, seconds),
        tries=min(patience.tries, 2),
        connect=min(patience.connect, seconds / 2),
        first_pause=min(patience.first_pause, seconds / 10),
        jitter=min(patience.jitter, seconds / 10),
    )
