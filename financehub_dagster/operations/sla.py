"""SLA: bounds on freshness and runtime that are not kept become `sla_breaches`.

Belongs here: comparing what is measured with the bounds. Does not belong here: telling people (alerts).
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from financehub_dagster.storage.operations.sla_breaches import Breach
from financehub_dagster.tables import TABLES
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from financehub_dagster.storage.database.dagster_state import RunningStep
    from financehub_dagster.storage.operations.freshness import Freshness

FRESH_SECONDS = 45.0
"""Freshness that was measured within this time is not measured again."""


def late_tables(found: "Iterable[Freshness]") -> list[Breach]:
    """Tables whose rows are missing for longer than allowed."""
    return [
        Breach(
            each.table,
            each.subject,
            each.bound,
            each.late,
            f"{each.subject}: {_rows_after(each.newest)} were due {_stamp(each.due)}",
        )
        for each in found
        if each.is_late and each.due is not None
    ]


def runtimes() -> dict[str, timedelta]:
    """How long the step of a scheduled run may take, by table."""
    return {name: table.runtime for name, table in TABLES.items() if table.runtime is not None}


def slow_steps(steps: "Iterable[RunningStep]") -> list[Breach]:
    """Steps of scheduled runs that take longer than their table allows; a backfill takes as long as it takes."""
    allowed = runtimes()
    return [
        Breach(
            step.table,
            step.run_id,
            allowed[step.table].total_seconds(),
            step.seconds,
            f"run {step.run_id[:8]} of {step.job_name} has taken {counted(round(step.seconds / 60), 'minute')}",
        )
        for step in steps
        if step.table in allowed and step.seconds > allowed[step.table].total_seconds()
    ]


def follow_runtimes() -> None:
    """Compare the steps that run now with the bounds; raises DatabaseError."""
    from financehub_dagster.storage.database.dagster_state import scheduled_steps
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.operations import sla_breaches

    found = slow_steps(scheduled_steps())
    in_transaction(lambda connection: sla_breaches.follow(connection, "runtime", found))


def follow_freshness(now: datetime) -> bool:
    """Measure the freshness of every table, unless somebody has just done so; raises DatabaseError.

    `now` (aware) is corrected by the vendors' clocks where it is far off: a wrong clock makes no table late. Loads
    exchange_calendars: for the daemon's sensor, whose process has it anyway. Returns whether it was measured.
    """
    from financehub_dagster.operations.freshness import measure
    from financehub_dagster.operations.health import CLOCK_OFF, vendors_ahead
    from financehub_dagster.storage.database.engine import Connection, transaction
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.operations import freshness, sla_breaches

    with transaction() as connection:
        age = freshness.seconds_since_measured(connection)
        if age is not None and 0 <= age < FRESH_SECONDS:
            return False
        ahead = vendors_ahead(connection, now)
        corrected = now if ahead is None or abs(ahead) < CLOCK_OFF else now + timedelta(seconds=ahead)
        found = measure(connection, corrected)

    def write(connection: Connection) -> None:
        sla_breaches.follow(connection, "freshness", late_tables(found))
        freshness.store(connection, found)

    in_transaction(write)
    return True


def _rows_after(newest: datetime | None) -> str:
    return "the first rows" if newest is None else f"rows newer than {_stamp(newest)}"


def _stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
