"""`health_checks`: which status each component had, and since when.

Belongs here: storing and reading it. Does not belong here: the checks (operations.health). A status that lasts is one
row that each check updates, so the table grows with changes only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from financehub_dagster.storage.database.array_parameters import arrays_of
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import health_checks

type Status = Literal["ok", "degraded", "failed"]

MISSED = timedelta(minutes=10)
"""After a longer time without a check, nobody knows whether the status lasted: a new row begins."""


@dataclass(frozen=True)
class Checked:
    """What a check found: status, one line of detail, and how many seconds the check took."""

    component: str
    status: Status
    detail: str
    seconds: float | None = None


@dataclass(frozen=True)
class StatusRow:
    """A status that a component has, since when, and when it was checked last (aware)."""

    component: str
    since: datetime
    checked_at: datetime
    status: Status
    detail: str


_NEWEST = sa.text("""
    select distinct on (component) component, since, checked_at, status, detail
    from health_checks order by component, since desc
    """)

_STORE = sa.text("""
    with found as (
        select * from unnest(cast(:component as text[]), cast(:status as text[]), cast(:detail as text[]),
            cast(:seconds as double precision[])) as f(component, status, detail, seconds)
    ),
    newest as (
        select distinct on (component) component, since, status, checked_at from health_checks
        order by component, since desc
    ),
    kept as (
        update health_checks h
        set checked_at = greatest(h.checked_at, now()), detail = f.detail, seconds = f.seconds, checks = h.checks + 1
        from found f join newest n using (component)
        where h.component = n.component and h.since = n.since and n.status = f.status
            and n.checked_at > now() - cast(:missed as interval)
        returning h.component
    )
    insert into health_checks (component, since, checked_at, status, detail, seconds)
    select f.component, greatest(now(), n.since + interval '1 microsecond'),
        greatest(now(), n.since + interval '1 microsecond'), f.status, f.detail, f.seconds
    from found f left join newest n using (component)
    where f.component not in (select component from kept)
    """)


def store(connection: Connection, found: Sequence[Checked]) -> None:
    """Record what a check of each component found now, on the database's clock, however that was set meanwhile."""
    lock_table(connection, health_checks)
    rows = arrays_of(found, "component", "status", "detail", "seconds")
    connection.execute(_STORE, {**rows, "missed": MISSED})


def newest(connection: Connection) -> list[StatusRow]:
    """The last known status of every component that was ever checked."""
    return [StatusRow(*row) for row in connection.execute(_NEWEST)]


def seconds_since_check(connection: Connection) -> float | None:
    """Seconds since any component was checked, on the database's clock; None before the first check."""
    query = sa.text("select extract(epoch from now() - max(checked_at)) from health_checks")
    age = connection.execute(query).scalar()
    return None if age is None else float(age)
