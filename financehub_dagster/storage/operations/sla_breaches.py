"""`sla_breaches`: bounds that were not kept, from beginning to end.

Belongs here: opening, following and ending breaches. Does not belong here: measuring.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from financehub_dagster.storage.database.array_parameters import arrays_of
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import sla_breaches


@dataclass(frozen=True)
class Breach:
    """A bound that is not kept now: of which table and what, seconds allowed and taken so far, and one line of text."""

    table: str
    subject: str
    bound: float
    taken: float
    detail: str


_FOLLOW = sa.text("""
    insert into sla_breaches as s (table_name, kind, subject, began_at, bound, worst, detail)
    select t, :kind, u, now(), o, w, d from unnest(cast(:table as text[]), cast(:subject as text[]),
        cast(:bound as double precision[]), cast(:taken as double precision[]), cast(:detail as text[]))
        as f(t, u, o, w, d)
    on conflict (table_name, kind, subject) where ended_at is null
    do update set worst = greatest(s.worst, excluded.worst), detail = excluded.detail, checked_at = now()
    """)

_END = sa.text("""
    update sla_breaches s set ended_at = now() where kind = :kind and ended_at is null and not exists (
        select from unnest(cast(:table as text[]), cast(:subject as text[])) as f(t, u)
        where f.t = s.table_name and f.u = s.subject)
    """)


def follow(connection: Connection, kind: str, found: Sequence[Breach]) -> None:
    """Make the open breaches of `kind` those that were found: new ones begin, others go on, those not found end."""
    lock_table(connection, sla_breaches)
    connection.execute(_END, {"kind": kind, **arrays_of(found, "table", "subject")})
    connection.execute(_FOLLOW, {"kind": kind, **arrays_of(found, "table", "subject", "bound", "taken", "detail")})


@dataclass(frozen=True)
class OpenBreach:
    """A breach that lasts: when it was noticed, and when it was seen last (aware)."""

    table: str
    kind: str
    began_at: datetime
    checked_at: datetime
    detail: str


def open_breaches(connection: Connection) -> list[OpenBreach]:
    """Breaches that last, the oldest first."""
    c = sla_breaches.c
    query = sa.select(c.table_name, c.kind, c.began_at, c.checked_at, c.detail).where(c.ended_at.is_(None))
    return [OpenBreach(*row) for row in connection.execute(query.order_by(c.began_at, c.id))]
