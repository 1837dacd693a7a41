"""What is looked at every minute, by whichever process does it first.

Belongs here: the order of a look, and that two processes do not do it twice. Does not belong here: the checks (health).
The daemon's sensor and `financehub serve` both look: the first sees a dead server, the second a dead daemon.
"""

from dataclasses import dataclass

from financehub_dagster.operations.health import Health, check

FRESH_SECONDS = 45.0
"""A look that is younger than this is not repeated."""


@dataclass(frozen=True)
class Looked:
    """What a look found; health is None where another process has just looked."""

    health: Health | None

    def __str__(self) -> str:
        """One line, for a tick."""
        if self.health is None:
            return "Another process has just looked."
        bad = [f"{each.component}: {each.detail}" for each in self.health.components if each.status != "ok"]
        return f"{self.health.status}: {'; '.join(bad) or f'{len(self.health.components)} components'}"


def look(*, always: bool = False) -> Looked:
    """Check the platform's health and record it; raises DatabaseError. always: also when somebody has just done so."""
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
    return Looked(health)
