"""Indexes of partitioned tables, built partition by partition while others read and write.

Belongs here: completing an index that a migration declared on a partitioned table alone. Does not belong here: which
indexes there are (`schema`), and making partitions (`month_partitions`), which brings their indexes along.

An index that covers all partitions from the start would be built in the migration's transaction, and nobody could write
meanwhile: minutes, for months of minutes. A build that is interrupted is continued by the next call.
"""

from math import inf

import sqlalchemy as sa

from financehub_dagster.storage.database.creation import locked
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.session_settings import is_pooled
from financehub_dagster.storage.database.sql_text import quoted

LOCK = 7_236_400_003
"""Advisory lock under which indexes are built: any number that nobody else uses."""

_OPEN = sa.text("""
    select parent.relname as index, t.relname as table, pg_get_indexdef(parent.oid) as definition
    from pg_index as x join pg_class as parent on parent.oid = x.indexrelid join pg_class as t on t.oid = x.indrelid
    where parent.relkind = 'I' and not x.indisvalid and not t.relispartition order by 1
    """)
_WITHOUT = sa.text("""
    select child.relname from pg_inherits as h join pg_class as child on child.oid = h.inhrelid
    where h.inhparent = to_regclass(quote_ident(:table)) and not exists (
        select from pg_inherits as own join pg_index as x on x.indexrelid = own.inhrelid
        where own.inhparent = to_regclass(quote_ident(:index)) and x.indrelid = child.oid
    ) order by 1
    """)
_BROKEN = sa.text("select not indisvalid from pg_index where indexrelid = to_regclass(quote_ident(:name))")


def complete(connection: Connection) -> list[str]:
    """Build what is missing of declared indexes, and return the names of those that were built, by partition.

    connection: in autocommit. One query where nothing is missing. Another process that builds is waited for.
    """
    built: list[str] = []
    if not connection.execute(_OPEN).all():
        return built
    if not is_pooled(connection):
        connection.exec_driver_sql("SET lock_timeout = 0")  # a concurrent build waits for transactions, not for a lock
    with locked(connection.engine.url, LOCK, inf):
        for index, table, definition in connection.execute(_OPEN).all():
            missing = connection.execute(_WITHOUT, {"table": table, "index": index}).scalars().all()
            built += [_build(connection, index, table, partition, definition) for partition in missing]
    return built


def _build(connection: Connection, index: str, table: str, partition: str, definition: str) -> str:
    """Build the index of one partition; that of all is valid once the last one is attached."""
    name = f"{partition}{index.removeprefix(table)}"
    if connection.execute(_BROKEN, {"name": name}).scalar():
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {quoted(name)}")
    how = definition.partition(" USING ")[2]
    connection.exec_driver_sql(
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {quoted(name)} ON {quoted(partition)} USING {how}"
    )
    connection.exec_driver_sql(f"ALTER INDEX {quoted(index)} ATTACH PARTITION {quoted(name)}")
    return name
