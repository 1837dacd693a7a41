"""From calls to a verdict: does a part of the platform work, is it slow, or must something be done about it?

Belongs here: how long a part may fail. Does not belong here: the calls (operations.probes), and what is done
(supervisor).
"""

import threading
import time
from collections.abc import Callable

from financehub_dagster.operations.probes import BROKEN, SECONDS, Probe, Trouble, busyness, silent

ASK_SECONDS, ASK_AGAIN_SECONDS = 5.0, 2.0
"""Between two calls of a part that works, and of one that does not."""
NAP_SECONDS = 5.0
"""A clock that was not looked at for longer has slept, was frozen, or its machine is too busy to judge others."""
WEARY = 8.0
"""What is slow gets at most this much more time when it was restarted for that again and again."""


class AwakeClock:
    """Seconds that this process was awake: what others did not do meanwhile does not count against them."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last = monotonic()
        self._awake = 0.0

    def tick(self) -> float:
        """To be called all the time, several times a second; returns the seconds asleep since the last time, if any."""
        now = self._monotonic()
        passed, self._last = now - self._last, now
        if passed > NAP_SECONDS:
            return passed
        self._awake += passed
        return 0.0

    def now(self) -> float:
        """Seconds since the beginning, those asleep left out."""
        return self._awake


class Judge:
    """Calls one part again and again, in a thread of its own, since a call may hang too."""

    def __init__(self, probe: Probe, clock: AwakeClock) -> None:
        self._probe = probe
        self._clock = clock
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._since: float | None = None
        self._failures = 0
        self._trouble: Trouble | None = None
        self._asking_since: float | None = None
        self._round = 0
        self.answered = False
        """Whether it has worked since it was started."""
        self._thread = threading.Thread(target=self._go_on, name="judge", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; a call that hangs is not waited for."""
        self._leaving.set()

    def excuse(self) -> None:
        """What has failed so far had another reason."""
        with self._lock:
            self._since, self._failures = None, 0
            self._round += 1

    @property
    def trouble(self) -> Trouble | None:
        """Why it does not work at the moment; None when it does, or nobody knows yet."""
        with self._lock:
            if self._hangs():
                return silent(self._clock.now() - (self._asking_since or 0.0))
            return self._trouble

    def verdict(
        self, starting: float = 0.0, weariness: float = 1.0, stopped: Callable[[], bool] = lambda: False
    ) -> Trouble | None:
        """The trouble of a part that has failed for too long; `starting`: what it may take until it works at first.

        weariness: by how much a slow part gets more time; stopped: whether its processes are stopped, and so not slow.
        """
        trouble = self.trouble
        with self._lock:
            since = self._asking_since if self._hangs() else self._since
            twice = self._failures > 1 or self._hangs()
        if trouble is None or since is None:
            return None
        patience = trouble.patience
        if trouble.slow and stopped():
            patience, twice = BROKEN, True
        elif trouble.slow:
            patience *= busyness() * min(WEARY, weariness)
        if not self.answered and not trouble.final:
            patience = max(patience, starting * busyness())
        return trouble if twice and self._clock.now() - since >= patience else None

    def _hangs(self) -> bool:
        return self._asking_since is not None and self._clock.now() - self._asking_since > 2 * SECONDS

    def _go_on(self) -> None:
        pause = ASK_AGAIN_SECONDS
        while not self._leaving.wait(pause):
            pause = ASK_SECONDS if self.ask() is None else ASK_AGAIN_SECONDS

    def ask(self) -> Trouble | None:
        """Make the call once, and remember what it showed."""
        with self._lock:
            self._asking_since, this = self._clock.now(), self._round
        trouble = self._call()
        with self._lock:
            asked, self._asking_since = self._asking_since, None
            if this == self._round:
                self._note(trouble, asked)
        return trouble

    def _note(self, trouble: Trouble | None, asked: float | None) -> None:
        self._trouble = trouble
        if trouble is None:
            self._since, self._failures, self.answered = None, 0, True
        else:
            self._failures += 1
            self._since = asked if self._since is None else self._since

    def _call(self) -> Trouble | None:
        try:
            self._probe()
        except Trouble as trouble:
            return trouble
        except Exception as error:  # noqa: BLE001 - whatever a call raises, the part was not shown to work
            return Trouble(f"it cannot be asked: {error}")
        return None
