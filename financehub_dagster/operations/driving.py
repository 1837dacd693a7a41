"""The claim on the database, without which nothing drives: taking it, renewing it, and noticing that it is lost.

Belongs here: when to renew, and when a claim counts as lost. Does not belong here: the rows
(storage.operations.daemons), waiting for a claim and what is said about it (cli.supervisor.claim, cli.daemon).
"""

import logging
import threading
import time
from collections.abc import Callable

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.urls import is_embedded
from financehub_dagster.storage.operations import daemons
from financehub_dagster.storage.operations.daemons import LEASE, Daemon

RENEW_SECONDS = 5.0
SURE_SECONDS = LEASE.total_seconds() - RENEW_SECONDS
"""Without a renewal for longer, nobody can be sure any more that the claim is still ours."""
LOOK_SECONDS = 1.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
_logger = logging.getLogger("financehub.daemon.claim")


def is_shared() -> bool:
    """Whether others can reach the database: the embedded one belongs to a home, which has one supervisor anyway."""
    return not is_embedded()


def claim(token: str) -> Daemon | None:
    """Take or renew the claim; returns who else holds it. Raises DatabaseError."""
    from financehub_dagster.storage.database.transactions import in_transaction

    home = str(get_settings().home)
    return in_transaction(lambda connection: daemons.claim(connection, token, home))


def release(token: str) -> None:
    """Give up the claim, if this process took it; a database that does not answer sees it end by itself."""
    from financehub_dagster.storage.database.transactions import in_transaction

    try:
        in_transaction(lambda connection: daemons.release(connection, token))
    except DatabaseError:
        return


class Keeper:
    """Renews a claim in a thread of its own; `lost` is called once, there, with whoever holds it instead.

    unsure: called once, in another thread, when it could not be renewed for SURE_SECONDS in which this process was
    awake; a call to a database behind a dead network may hang, and must not keep anybody from noticing.
    """

    def __init__(self, token: str, lost: Callable[[Daemon], None], unsure: Callable[[], None] | None = None) -> None:
        self._token = token
        self._lost = lost
        self._unsure = unsure
        self._leaving = threading.Event()
        self._looks = 0
        self._renewing = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._watching = threading.Thread(target=self._watch, name="claim-watch", daemon=True)

    def start(self) -> None:
        """Begin; the claim was taken just before."""
        self._renewing.start()
        if self._unsure is not None:
            self._watching.start()

    def stop(self) -> None:
        """Renew no more; a renewal under way is waited for, but not for ever."""
        self._leaving.set()
        self._renewing.join(RENEW_SECONDS)

    def _renew(self) -> None:
        renewed, said = _now(), ""
        while not self._leaving.wait(LOOK_SECONDS):
            began = _now()
            if began - renewed < RENEW_SECONDS:
                continue
            try:
                other = claim(self._token)
                if other is not None:
                    self._lost(other)
                    return
            except DatabaseError:
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, who stops renewing loses the claim unseen
                problem = f"{type(error).__name__}: {error}"
                if problem != said:
                    _logger.warning("the claim on the database cannot be renewed, which is tried again: %s", problem)
                said = problem
                continue
            renewed, said = began, ""
            self._looks = 0

    def _watch(self) -> None:
        """Counted in looks: the time in which this process was frozen is none in which it drove."""
        while not self._leaving.wait(LOOK_SECONDS):
            self._looks += 1
            if self._looks * LOOK_SECONDS > SURE_SECONDS and self._unsure is not None:
                self._unsure()
                return


def _now() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps where there is such a one."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
