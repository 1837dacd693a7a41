"""Declared tables in plain words: names, types and comments, for whoever shows a table without speaking SQL.

Belongs here: describing a declaration. Does not belong here: the declarations (tables).
"""

from dataclasses import dataclass

from sqlalchemy.dialects import postgresql

from financehub_dagster.storage import tables


@dataclass(frozen=True)
class ColumnDescription:
    """A column: its PostgreSQL type in lower case, what it means, and whether it may be NULL."""

    name: str
    type: str
    comment: str | None
    nullable: bool


@dataclass(frozen=True)
class TableDescription:
    """A table: what it holds, the columns of its key, and all its columns in order."""

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[ColumnDescription, ...]


def describe(name: str) -> TableDescription:
    """The description of the declared table `name`; raises KeyError where none is declared."""
    table = tables.metadata.tables[name]
    dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    columns = (
        ColumnDescription(c.name, str(c.type.compile(dialect=dialect)).lower(), c.comment, bool(c.nullable))
        for c in table.columns
    )
    return TableDescription(name, table.comment or "", tuple(c.name for c in table.primary_key.columns), tuple(columns))
