"""The partitions of a table by month: which there are, what refers to them, and dropping one.

Belongs here: statements on partitions and on what the ledger says of their months. Does not belong here: making them
for writers (`database.month_partitions`), and files (`files`).
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.coverage import minute_rows
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import LockTimeout
from financehub_dagster.storage.database.month_partitions import month_bounds, partition_name
from financehub_dagster.storage.database.sql_text import quoted
from financehub_dagster.storage.dead_letters.dead_letters import LIVE
from financehub_dagster.storage.queries.partition_keys import RANGE
from financehub_dagster.tables import TABLES, filled_with

LOCK_SECONDS = 0.8
"""How long a month's lock is waited for: less than the second after which PostgreSQL looks for deadlocks, so that of an
archive and a writer that wait for each other, the archive gives way."""
LOCK_TRIES = 8
"""How often the lock on the whole table is waited for, with as long a pause before the next try."""
RESTORED = "restored from the archive at "
"""Begins the comment of a partition whose month is all there, whatever the archive's file holds."""

_CHILDREN = sa.text("""
    select child.relname, obj_description(child.oid, 'pg_class') as note from pg_inherits
    join pg_class as child on child.oid = inhrelid where inhparent = to_regclass(quote_ident(:table)) order by 1
    """)


@dataclass(frozen=True)
class Month:
    """A month that the database holds as a partition; restored_at: when it was brought back from the archive."""

    first_day: date
    restored_at: datetime | None = None


def table_names() -> list[str]:
    """The tables that are kept in partitions by month, in the order of their declarations."""
    return [name for name, table in TABLES.items() if table.range_partitioned]


def months(connection: Connection, table: str) -> list[Month]:
    """The partitions of a table, oldest first."""
    named = re.compile(re.escape(table) + r"_(\d{4})_(\d{2})")
    found = []
    for name, note in connection.execute(_CHILDREN, {"table": table}):
        match = named.fullmatch(name)
        if match:
            restored = note is not None and note.startswith(RESTORED)
            at = datetime.fromisoformat(note.removeprefix(RESTORED)) if restored else None
            found.append(Month(date(int(match[1]), int(match[2]), 1), at))
    return found


def mark_restored(connection: Connection, table: sa.Table, month: date) -> None:
    """Note that the partition holds all of its month."""
    note = f"{RESTORED}{datetime.now(UTC).isoformat(timespec='seconds')}"
    connection.exec_driver_sql(f"COMMENT ON TABLE {quoted(partition_name(table.name, month))} IS '{note}'")


def hold_writers(connection: Connection, table: sa.Table, month: date) -> None:
    """Let readers go on, and writers of this month alone wait until the transaction ends."""
    _limit_waiting(connection)
    connection.exec_driver_sql(f"LOCK TABLE {quoted(partition_name(table.name, month))} IN SHARE ROW EXCLUSIVE MODE")


def drop(connection: Connection, table: sa.Table, month: date) -> None:
    """Drop the partition; the lock on the whole table lasts from here to the end of the transaction.

    Whoever comes while we wait for it waits behind us, so that we wait briefly and let them pass between two tries.
    """
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with connection.begin_nested():
                _limit_waiting(connection)
                connection.exec_driver_sql(f"LOCK TABLE {quoted(table.name)} IN ACCESS EXCLUSIVE MODE")
            break
        except LockTimeout:
            if attempt == LOCK_TRIES:
                raise
            time.sleep(LOCK_SECONDS)
    connection.exec_driver_sql(f"DROP TABLE {quoted(partition_name(table.name, month))}")


def _limit_waiting(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")


def rows_by_symbol(connection: Connection, table: sa.Table, month: date) -> dict[str, int]:
    """How many rows each symbol has in the partition."""
    name = quoted(partition_name(table.name, month))
    found = connection.exec_driver_sql(f"SELECT symbol, count(*) FROM {name} GROUP BY symbol")
    return {symbol: int(count) for symbol, count in found}


_GAPS = sa.text("""
    select min(symbol), count(*) from minute_gaps
    where next_ask_at is not null and start < :after and stop > :first
    """)
_UNFINISHED = sa.text("""
    select min(c.symbol), count(*) from minute_coverage as c join instruments as i on i.symbol = c.symbol
    where i.is_active and c.complete_to >= :first and c.complete_to < :after
    and (i.delisted_on is null or i.delisted_on > cast(c.complete_to at time zone 'UTC' as date))
    """)
_WAITING = """
    select min(symbol), count(*) from {table} where task_name = any(:tables) {live}
    and (partition_key = '' or split_part(partition_key, :range, 1) <= :last
        and coalesce(nullif(split_part(partition_key, :range, 2), ''), split_part(partition_key, :range, 1)) >= :start)
    """
_FAILED = sa.text(_WAITING.format(table="task_failures", live="and status = any(:live)"))
_DEFERRED = sa.text(_WAITING.format(table="deferred_work", live=""))


def reasons_to_keep(connection: Connection, table: str, month: date) -> list[str]:
    """What refers to the month of a table, in words; empty where nothing does and the month may leave.

    The longer bars are made of the minutes in their transaction: what refers to either keeps both.
    """
    return list(_reasons(connection, table, month))


def _reasons(connection: Connection, table: str, month: date) -> Iterator[str]:
    first, after = month_bounds(month)
    source = TABLES[table].filled_by
    if source == minute_rows.TABLE:
        for query, words in ((_GAPS, "gaps of minutes"), (_UNFINISHED, "instruments whose minutes end in it")):
            yield from _counted(connection.execute(query, {"first": first, "after": after}), words)
    last = (after.date() - date.resolution).isoformat()
    wanted = {
        "tables": [source, *filled_with(source)],
        "live": list(LIVE),
        "range": RANGE,
        "start": first.date().isoformat(),
        "last": last,
    }
    yield from _counted(connection.execute(_FAILED, wanted), "dead letters")
    yield from _counted(
        connection.execute(_DEFERRED, {name: each for name, each in wanted.items() if name != "live"}), "deferred work"
    )


def _counted(found: sa.CursorResult[Any], words: str) -> Iterator[str]:
    symbol, count = tuple(found.one())
    if count:
        yield f"{count:,} {words} ({symbol or 'whole runs'}{' and others' if count > 1 else ''})"


_FORGET = (
    "delete from minute_gaps where stop <= :after",
    "update minute_gaps set start = :after where start < :after",
    "delete from minute_coverage where complete_to <= :after",
    "update minute_coverage set first = :after where first < :after",
)


def end_expectation(connection: Connection, table: str, month: date) -> None:
    """Forget in the ledger of minutes what lies before the end of a month that is dropped without an archive.

    Whoever wants those minutes again can fetch them: they are no longer settled. Archived months stay settled.
    """
    if table != minute_rows.TABLE:
        return
    _, after = month_bounds(month)
    locks.lock_table(connection, schema.minute_coverage)
    for statement in _FORGET:
        connection.execute(sa.text(statement), {"after": after})
