"""Pauses that end when nobody waits for the answer any more.

Belongs here: pausing a thread that asks vendors, and telling all threads of a pool that they are not waited for. Does
not belong here: why there is a pause (slots, resting keys, retries).
"""

import time
from contextvars import ContextVar
from threading import Event

_abandoned: ContextVar[Event | None] = ContextVar("financehub_abandoned", default=None)


class Abandoned(BaseException):
    """Nobody waits for this answer: the run was cancelled, or another part of it failed.

    Not an Exception, so that no library takes it for a vendor's failure.
    """


def end_with(abandoned: Event) -> None:
    """From now on a pause of this thread ends as soon as `abandoned` is set, by raising Abandoned."""
    _abandoned.set(abandoned)


def pause(seconds: float) -> None:
    """Sleep; raises Abandoned when nobody waits any more."""
    abandoned = _abandoned.get()
    if abandoned is None:
        time.sleep(seconds)
    elif abandoned.wait(seconds):
        raise Abandoned
