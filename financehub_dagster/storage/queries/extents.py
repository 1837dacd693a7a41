"""How much a table holds: rows, instruments and days.

Belongs here: that one question, for any declared table. Does not belong here: what is missing (the ledger).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import days


@dataclass(frozen=True, slots=True)
class Extent:
    """rows of a table, how many instruments they are of, and their first and last UTC day; None where it has none.

    sources counts the rows by the provider that answered.
    """

    rows: int
    symbols: int | None
    first: date | None
    last: date | None
    sources: dict[str, int]


def extent(connection: Connection, table: str) -> Extent:
    """The extent of the declared table of that name; reads all of it."""
    declared = schema.table(table)
    time = days.time_column(declared)
    asked: list[sa.ColumnElement[Any]] = [
        sa.func.count(),
        sa.func.count(sa.distinct(declared.c.symbol)) if "symbol" in declared.c else sa.null(),
        *((sa.null(),) * 2 if time is None else (sa.func.min(days.day_of(time)), sa.func.max(days.day_of(time)))),
    ]
    rows, symbols, first, last = connection.execute(sa.select(*asked).select_from(declared)).one()
    return Extent(rows, symbols, first, last, _sources(connection, declared))


def _sources(connection: Connection, table: sa.Table) -> dict[str, int]:
    if "source" not in table.c:
        return {}
    query = sa.select(table.c.source, sa.func.count()).group_by(table.c.source).order_by(sa.func.count().desc())
    return {str(source): count for source, count in connection.execute(query)}
