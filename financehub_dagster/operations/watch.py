"""What is looked at every minute, by whichever process does it first.

Belongs here: the order of a look, and that two processes do not do it twice. Does not belong here: the checks (health,
sla). The daemon's sensor and `financehub serve` both look: the first sees a dead server, the second a dead daemon.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from financehub_dagster.operations import alerts, sla
from financehub_dagster.operations.health import Health, check
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.wording import counted

FRESH_SECONDS = 45.0
"""A look that is younger than this is not repeated."""
LOOK_SECONDS = 60.0
OUTAGE_SECONDS = 45.0
"""A database that does not answer for longer is told, by whoever sees it."""

_logger = logging.getLogger("financehub.watch")


@dataclass(frozen=True)
class Looked:
    """What a look found; health is None where another process has just looked."""

    health: Health | None

    def __str__(self) -> str:
        """One line, for a tick."""
        if self.health is None:
            return "Another process has just looked."
        bad = [f"{each.component}: {each.detail}" for each in self.health.components if each.status != "ok"]
        return f"{self.health.status}: {'; '.join(bad) or counted(len(self.health.components), 'component')}"


def look(*, always: bool = False) -> Looked:
    """Check and record health, count finished runs, follow SLA and incidents, and deliver alerts.

    Raises DatabaseError. always: also when somebody has just done so.
    """
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.operations import health_checks, job_statistics

    with transaction() as connection:
        age = health_checks.seconds_since_check(connection)
    if not always and age is not None and 0 <= age < FRESH_SECONDS:
        return Looked(None)
    health = check()
    in_transaction(lambda connection: health_checks.store(connection, health.components))
    in_transaction(job_statistics.count_finished)
    sla.follow_runtimes()
    in_transaction(alerts.follow)
    alerts.deliver()
    return Looked(health)


class Watcher:
    """Looks every minute in a thread of its own, and tells people when no incident can be recorded."""

    def __init__(
        self,
        look: Callable[[], object] = look,
        send: Callable[[str, str], None] = alerts.send,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._send = send
        self._now = now
        self._down_since: float | None = None
        self._told = False
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look under way is not waited for."""
        self._leaving.set()

    def once(self) -> None:
        """Look once; whatever goes wrong is logged or told, and the next look comes all the same."""
        try:
            self._look()
        except DatabaseError as error:
            self._down(str(error))
        except Exception:
            _logger.exception("the platform could not be looked at")
        else:
            if self._told:
                self._tell("FinanceHub: the database works again", "Everything is recorded again.")
            self._down_since, self._told = None, False

    def _down(self, why: str) -> None:
        if self._down_since is None:
            self._down_since = self._now()
            _logger.warning("health cannot be recorded: %s", why)
        if not self._told and self._now() - self._down_since >= OUTAGE_SECONDS:
            self._told = self._tell("FinanceHub: the database does not work", why)

    def _tell(self, title: str, body: str) -> bool:
        try:
            self._send(title, body)
        except alerts.DeliveryFailed as error:
            _logger.warning("an alert was not delivered (%s): %s", error, title)
            return False
        return True

    def _go_on(self) -> None:
        while not self._leaving.wait(LOOK_SECONDS):
            self.once()
