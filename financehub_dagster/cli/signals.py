"""Requests to stop: Ctrl-C, SIGTERM and SIGHUP, seen at points where stopping is safe.

Belongs here: signal handlers. Does not belong here: what stopping means.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from financehub_dagster.cli.errors import CommandError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(CommandError):
    """Someone asked this process to end."""

    def __init__(self) -> None:
        super().__init__("interrupted")


class StopSignals:
    """Counts the requests to stop."""

    def __init__(self) -> None:
        self.requests = 0

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.requests += 1

    def request(self) -> None:
        """Ask to stop from within, as a signal would."""
        self.requests += 1

    def check(self) -> None:
        """Raise StopRequested when someone asked to stop."""
        if self.requests:
            raise StopRequested

    def wait(self, seconds: float) -> None:
        """Pass some time; raises StopRequested as soon as someone asks to stop."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.1))
        self.check()


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handle the stop signals for the duration, also where a parent shell had them ignored."""
    stop = StopSignals()
    before = {number: signal.signal(number, stop.handle) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
