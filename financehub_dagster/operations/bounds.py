"""The bounds of the SLA, as the tables declare them.

Belongs here: one row for each bound. Does not belong here: the bounds themselves (tables), measuring (freshness, sla).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from financehub_dagster.tables import TABLES
from financehub_dagster.tables.declaration import Due, Table


@dataclass(frozen=True)
class LateBound:
    """How late rows of a table may be, of these kinds of instruments; time is the column that places a row in time."""

    table: str
    kinds: tuple[str, ...]
    due: Due
    late: timedelta
    time: str


def late_bounds(tables: Iterable[Table] = tuple(TABLES.values())) -> Iterator[LateBound]:
    """The bounds on lateness of all tables whose rows have a time."""
    for table in tables:
        if table.time is not None:
            for each in table.lateness:
                yield LateBound(table.name, each.kinds or table.instruments, each.due, each.bound, table.time)


def runtimes(tables: Iterable[Table] = tuple(TABLES.values())) -> dict[str, timedelta]:
    """How long the step of a scheduled run may take, by table."""
    return {table.name: table.runtime for table in tables if table.runtime is not None}
