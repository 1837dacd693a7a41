"""Partitions of large tables by month: each is made when the first row of its month is about to be written.

Belongs here: making partitions, and their names. Does not belong here: dropping them (operations), and Dagster's
partitions, which are days or months of work (`ingest.partitions`).
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.sql_text import quoted


def is_partitioned(table: sa.Table) -> bool:
    """Whether PostgreSQL keeps the rows of `table` in partitions."""
    return bool(table.dialect_options["postgresql"].get("partition_by"))


def partition_name(table: str, month: date) -> str:
    """The name of the partition that holds the month of `month`."""
    return f"{table}_{month:%Y_%m}"


def month_bounds(month: date) -> tuple[datetime, datetime]:
    """The first instant of a month in UTC, and that of the next one."""
    first = datetime(month.year, month.month, 1, tzinfo=UTC)
    return first, (first + timedelta(days=32)).replace(day=1)


def ensure_months(connection: Connection, table: str, months: Iterable[date]) -> None:
    """Make the partitions of `months` (any day of each) that are not there yet, within the caller's transaction.

    A partition is made apart and then attached, which lets others read and write the table meanwhile. Of two writers
    that need a new month, the second waits until the first has committed. Call it after locking the table.
    """
    wanted = {partition_name(table, month): month for month in months}
    if not _missing(connection, list(wanted)):
        return
    name = quoted(table)
    connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE")
    for missing in _missing(connection, list(wanted)):
        first, after = month_bounds(wanted[missing])
        own = quoted(missing)
        connection.exec_driver_sql(f"CREATE TABLE {own} (LIKE {name} INCLUDING ALL)")
        bounds = f"FROM ('{first.isoformat()}') TO ('{after.isoformat()}')"
        connection.exec_driver_sql(f"ALTER TABLE {name} ATTACH PARTITION {own} FOR VALUES {bounds}")


def _missing(connection: Connection, names: list[str]) -> list[str]:
    query = sa.text(
        "SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(quote_ident(name)) IS NULL"
    )
    return list(connection.execute(query, {"names": names}).scalars())
