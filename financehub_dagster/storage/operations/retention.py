"""Deleting and thinning what our tables have kept for long enough.

Belongs here: the statements, each small enough for its locks not to be noticed. Does not belong here: how long things
are kept (operations.retention).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database.dagster_retention import in_batches
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import metadata
from financehub_dagster.storage.database.transactions import in_transaction

FIRST_BATCH, LARGEST_BATCH = 1_000, 50_000
CLEAN_DAYS = 40
"""Thinning begins after so many days that are thin already: longer breaks between rows do not end the search."""

_SETTLED = {
    "sla_breaches": ("id", "ended_at"),
    "alerts": ("id", "ended_at"),
    "rejected_rows": ("id", "rejected_at"),
}
"""Tables with a key of one number, and the column that says how old a row is; rows without it stay."""

_KEPT_A_WHILE = {"notifications": "queued_at", "position_sizes": "computed_at"}
"""Tables whose rows are deleted by their age alone, by the column that says it."""

_HEALTH = sa.text("""
    delete from health_checks where (component, since) in (
        select h.component, h.since from health_checks h
        where h.checked_at < now() - cast(:age as interval) and exists (
            select from health_checks later where later.component = h.component and later.since > h.since)
        limit :most)
    """)

_REVISIONS = sa.text("""
    with gone as (
        delete from price_revisions where id in (
            select id from price_revisions where replaced_at < now() - cast(:age as interval)
            and replaced_at <= coalesce((select min(as_of) from vintages), 'infinity') limit :most)
        returning table_name, replaced_at
    ), told as (
        insert into revisions_kept (table_name, since) select table_name, max(replaced_at) from gone group by table_name
        on conflict (table_name) do update set since = greatest(revisions_kept.since, excluded.since)
    )
    select count(*) from gone
    """)
"""The oldest kept time of each table moves with the deletion, so that no time before it is answered for. What a vintage
is read from stays: what was replaced after its time."""

_USAGE = sa.text(
    "delete from api_usage where day < current_date - cast(extract(day from cast(:age as interval)) as int)"
)


def delete_old(table: str, age: timedelta) -> int:
    """Delete rows of `table` that are older than `age`, in batches; returns how many."""
    if table == "health_checks":
        return _repeated(_HEALTH, table, age)
    if table == "api_usage":
        return in_transaction(lambda connection: connection.execute(_USAGE, {"age": age}).rowcount)
    known = metadata.tables[table]
    if table in _KEPT_A_WHILE:
        column = known.c[_KEPT_A_WHILE[table]].name
        old = f"select ctid from {known.name} where {column} < now() - cast(:age as interval) limit :most"
        return _repeated(sa.text(f"delete from {known.name} where ctid = any(array({old}))"), table, age)
    if table == "price_revisions":
        return _repeated(_REVISIONS, table, age)
    key, column = _SETTLED[table]
    statement = sa.text(f"""
        delete from {known.name} where {known.c[key].name} in (
            select {known.c[key].name} from {known.name}
            where {known.c[column].name} < now() - cast(:age as interval) limit :most)
        """)
    return _repeated(statement, table, age)


def _repeated(statement: sa.TextClause, table: str, age: timedelta) -> int:
    total = 0

    def batch(most: int) -> bool:
        nonlocal total

        def work(connection: Connection) -> int:
            lock_table(connection, metadata.tables[table])
            done = connection.execute(statement, {"age": age, "most": most})
            return int(done.scalar_one()) if done.returns_rows else done.rowcount

        deleted = in_transaction(work)
        total += deleted
        return deleted == most

    in_batches(batch, FIRST_BATCH, LARGEST_BATCH)
    return total


_CROWDED = """
    select exists (
        select from {table} where {time} >= :start and {time} < :stop
        group by symbol, date_trunc('hour', {time}) having count(*) > 1)
    """
_THIN = """
    delete from {table} t using (
        select symbol, {time}, lead({time}) over (partition by symbol order by {time}) as later
        from {table} where {time} >= :start and {time} < :stop
    ) crowd
    where t.symbol = crowd.symbol and t.{time} = crowd.{time} and crowd.later is not null
    """
_OLDEST = "select min({time}) from {table} where {time} < :stop"


def thin_to_hourly(table: str, time: str, before: datetime) -> int:
    """Keep the last row of each instrument and hour of what is older than `before` (aware); returns how many went.

    An hour is a transaction. The latest crowded days are found first and thinned from the oldest on, so that a process
    which is killed leaves nothing behind that the next one would not find.
    """
    known = metadata.tables[table]
    names = {"table": known.name, "time": known.c[time].name}
    crowded, thin, oldest = (sa.text(each.format(**names)) for each in (_CROWDED, _THIN, _OLDEST))
    stop = before.replace(hour=0, minute=0, second=0, microsecond=0)
    day = timedelta(days=1)

    def first_crowded(connection: Connection) -> datetime | None:
        begin = connection.execute(oldest, {"stop": stop}).scalar()
        at, found, clean = stop, None, 0
        while begin is not None and at > begin and clean < CLEAN_DAYS:
            at -= day
            if connection.execute(crowded, {"start": at, "stop": at + day}).scalar_one():
                found, clean = at, 0
            else:
                clean += 1
        return found

    at = in_transaction(first_crowded)
    total = 0
    while at is not None and at < stop:
        span = {"start": at, "stop": at + timedelta(hours=1)}
        total += in_transaction(lambda connection, span=span: connection.execute(thin, span).rowcount)  # type: ignore[misc]
        at += timedelta(hours=1)
    return total


_SIZES = sa.text("""
    select relname, pg_total_relation_size(oid) + coalesce((
        select cast(sum(pg_total_relation_size(relid)) as bigint) from pg_partition_tree(oid) where relid <> oid), 0)
    from pg_class
    where relkind in ('r', 'p') and relname = any(:names) and relnamespace = cast(current_schema() as regnamespace)
    """)


def sizes(connection: Connection, tables: Sequence[str]) -> dict[str, int]:
    """Bytes on disk of each of these tables with its indexes."""
    return {name: int(size) for name, size in connection.execute(_SIZES, {"names": list(tables)})}
