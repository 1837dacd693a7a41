"""The newest rows of a table by market, and `table_freshness`, where their lateness is kept.

Belongs here: reading and storing it. Does not belong here: when rows are due (operations.freshness).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import sqlalchemy as sa

from financehub_dagster.storage.database.array_parameters import arrays_of
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import metadata, table_freshness
from financehub_dagster.storage.queries.instruments import RANK

MOST_SYMBOLS = 50
"""Instruments of a market that are looked at, the most important first: rows of one of them show that the table is fed.
Those that alone lack something are gaps of the ledger."""

_NEWEST = """
    with ranked as (
        select symbol, exchange, asset_type = 'fx' as is_fx, updated_at,
            row_number() over
                (partition by exchange, asset_type = 'fx' order by {rank}) as n
        from instruments
        where is_active and asset_type = any(cast(:kinds as text[]))
            and (delisted_on is null or delisted_on >= current_date)
    )
    select r.exchange, r.is_fx, min(r.symbol), min(r.updated_at), max(newest.at)
    from ranked r left join lateral (
        select t.{column} as at from {table} t where t.symbol = r.symbol order by t.{column} desc limit 1
    ) newest on true
    where r.n <= :most group by r.exchange, r.is_fx order by r.exchange, r.is_fx
    """

_STORE = sa.text("""
    with found as (
        select * from unnest(cast(:table as text[]), cast(:subject as text[]), cast(:newest as timestamptz[]),
            cast(:due as timestamptz[]), cast(:bound as double precision[]), cast(:late as double precision[]))
            as f (table_name, subject, newest, due, bound, late)
    ), gone as (
        delete from table_freshness old where not exists (
            select from found f where f.table_name = old.table_name and f.subject = old.subject
        )
    )
    insert into table_freshness as old (table_name, subject, newest, due, bound, late) select * from found
    on conflict (table_name, subject) do update set (newest, due, bound, late, measured_at) =
        (excluded.newest, excluded.due, excluded.bound, excluded.late, now())
    where (old.newest, old.due, old.bound, old.late)
            is distinct from (excluded.newest, excluded.due, excluded.bound, excluded.late)
        or (old.table_name, old.subject) = (select table_name, subject from found order by 1, 2 limit 1)
    """)
"""Rows that are as they were are not written, but for the first: its `measured_at` tells when it was looked last."""


@dataclass(frozen=True)
class NewestRow:
    """The newest row of a market: an exchange, or currencies; at is None where there is none.

    expected_since: when the first of its instruments was listed here. at: a session date is its midnight in UTC.
    """

    exchange: str
    is_fx: bool
    symbol: str
    expected_since: datetime
    at: datetime | None


@dataclass(frozen=True)
class Freshness:
    """How fresh a table is in one market: `late` seconds after `due`, of which `bound` are allowed."""

    table: str
    subject: str
    newest: datetime | None
    due: datetime | None
    bound: float
    late: float

    @property
    def is_late(self) -> bool:
        """Whether more has passed than is allowed."""
        return self.late > self.bound


def newest_rows(connection: Connection, table: str, column: str, kinds: Sequence[str]) -> list[NewestRow]:
    """The newest row of each market with active instruments of these kinds, by a few probes of the table's key."""
    known = metadata.tables[table]
    query = sa.text(_NEWEST.format(table=known.name, column=known.c[column].name, rank=RANK))
    rows = connection.execute(query, {"kinds": list(kinds), "most": MOST_SYMBOLS})
    return [NewestRow(row[0], row[1], row[2], row[3], _instant(row[4])) for row in rows]


def store(connection: Connection, found: Sequence[Freshness]) -> None:
    """Bring what is known of freshness to what was found; writes what changed."""
    lock_table(connection, table_freshness)
    connection.execute(_STORE, arrays_of(found, "table", "subject", "newest", "due", "bound", "late"))


def seconds_since_measured(connection: Connection) -> float | None:
    """Seconds since freshness was measured, on the database's clock; None before the first time."""
    query = sa.text("select extract(epoch from now() - max(measured_at)) from table_freshness")
    age = connection.execute(query).scalar()
    return None if age is None else float(age)


def _instant(at: datetime | date | None) -> datetime | None:
    return at if at is None or isinstance(at, datetime) else datetime.combine(at, time(), UTC)
