"""To which UTC day a row of a table belongs: the columns that daily and monthly partitions are cut by.

Belongs here: that one column of each table, and conditions on it. Does not belong here: what is asked under them.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from financehub_dagster.tables.declaration import TIMES


def time_column(table: sa.Table) -> sa.Column[Any] | None:
    """The column that places the rows of `table` in time; None where they have no time."""
    return next((table.c[name] for name in TIMES if name in table.c), None)


def require_time(table: sa.Table) -> sa.Column[Any]:
    """The column that places the rows of `table` in time; raises ValueError where they have no time."""
    column = time_column(table)
    if column is None:
        raise ValueError(f"the rows of {table.name} have no time")
    return column


def day_of(column: sa.Column[Any]) -> sa.ColumnElement[date]:
    """The UTC day of a date or an instant."""
    return column if isinstance(column.type, sa.Date) else sa.cast(sa.func.timezone("UTC", column), sa.Date)


def within(column: sa.Column[Any], start: date, end: date) -> sa.ColumnElement[bool]:
    """The rows of the UTC days from `start` to `end`, both included, so that an index on the column serves."""
    if isinstance(column.type, sa.Date):
        return column.between(start, end)
    first, after = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (start, end + timedelta(days=1)))
    return sa.and_(column >= first, column < after)
