"""`alerts`: one row for each incident, and whether people were told of its beginning and its end.

Belongs here: opening and ending incidents, and which messages are due. Does not belong here: what counts as an
incident, or delivering (operations.alerts).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import alerts

SETTLE = timedelta(seconds=45)
"""The end of an incident is told after this time without it, by the second look that misses it; twice the time for each
recurrence."""
LONGEST_SETTLE = timedelta(hours=1)
MEMORY = timedelta(hours=2)
"""An incident that begins within this time after the end of the last one of its name is a recurrence."""
LEASE = timedelta(minutes=2)
"""Who takes messages to deliver them has this long, before another process takes them."""
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=30), timedelta(hours=1)
"""After a failed delivery: twice the wait each time."""


@dataclass(frozen=True)
class Due:
    """A message that is due: the beginning of an incident, its end, or both where it was over before it was told."""

    id: int
    message: str
    opened_at: datetime
    ended_at: datetime | None
    recurrence: int


_OPEN = sa.text("""
    with found as (
        select * from unnest(cast(:incidents as text[]), cast(:messages as text[])) as f(incident, message)
    ),
    last as (select distinct on (incident) * from alerts order by incident, id desc),
    -- The end was not told yet: the same incident goes on, and nobody need know that it was away.
    again as (
        update alerts a set ended_at = null, message = f.message, recurrence = a.recurrence + 1,
            next_attempt_at = case when a.announced_at is null then now() end
        from found f join last l using (incident)
        where a.id = l.id and l.ended_at is not null and l.end_announced_at is null
        returning a.incident
    ),
    going_on as (
        update alerts a set message = f.message from found f
        where a.incident = f.incident and a.ended_at is null returning a.incident
    )
    insert into alerts (incident, opened_at, message, recurrence, next_attempt_at)
    select f.incident, now(), f.message,
        case when l.ended_at > now() - cast(:memory as interval) then l.recurrence + 1 else 0 end, now()
    from found f left join last l using (incident)
    where f.incident not in (select incident from again union select incident from going_on)
    """)

_END = sa.text("""
    update alerts set ended_at = now(), attempts = 0,
        next_attempt_at = now() + least(cast(:settle as interval) * power(2, least(recurrence, 10)),
            cast(:longest as interval))
    where ended_at is null and incident <> all(cast(:incidents as text[]))
    """)

_TAKE = sa.text("""
    with due as (
        select id from alerts where next_attempt_at <= now() order by id limit :most for update skip locked
    )
    update alerts a set next_attempt_at = now() + cast(:lease as interval) from due where a.id = due.id
    returning a.id, a.message, a.opened_at, a.ended_at, a.recurrence
    """)

_DELIVERED = sa.text("""
    update alerts set attempts = 0, error = null, announced_at = coalesce(announced_at, now()),
        end_announced_at = case when id = any(cast(:ends as bigint[])) then now() end,
        next_attempt_at = case when ended_at is null or id = any(cast(:ends as bigint[])) then null
            else next_attempt_at end
    where id = any(cast(:ids as bigint[]))
    """)

_FAILED = sa.text("""
    update alerts set attempts = attempts + 1, error = :error,
        next_attempt_at = now() + least(cast(:first as interval) * power(2, least(attempts, 20)),
            cast(:longest as interval))
    where id = any(cast(:ids as bigint[]))
    """)


def follow(connection: Connection, current: Mapping[str, str]) -> None:
    """Make the open incidents those of `current`, by name with their messages: new ones begin, those missing end."""
    lock_table(connection, alerts)
    names = list(current)
    connection.execute(_END, {"incidents": names, "settle": SETTLE, "longest": LONGEST_SETTLE})
    connection.execute(_OPEN, {"incidents": names, "messages": list(current.values()), "memory": MEMORY})


def take_due(connection: Connection, most: int) -> list[Due]:
    """Messages that are due, the oldest first; until LEASE is over nobody else gets them."""
    rows = connection.execute(_TAKE, {"most": most, "lease": LEASE})
    return sorted((Due(*row) for row in rows), key=lambda due: due.id)


def delivered(connection: Connection, due: Sequence[Due]) -> None:
    """These messages were delivered: what was told of an incident that has ended is its end."""
    ends = [each.id for each in due if each.ended_at is not None]
    connection.execute(_DELIVERED, {"ids": [each.id for each in due], "ends": ends})


def failed(connection: Connection, due: Sequence[Due], error: str) -> None:
    """These messages could not be delivered; they are due again later."""
    values = {"ids": [each.id for each in due], "error": error, "first": FIRST_RETRY, "longest": LONGEST_RETRY}
    connection.execute(_FAILED, values)
