"""SQL tables of declarations beside the product: created when the database is upgraded, never changed.

Belongs here: creating them, and refusing a table in the database that is not as declared. Does not belong here:
importing declarations (`tables`), and the product's own tables, which migrations make.
"""

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.tables import EXTRA


def create(connection: Connection) -> list[str]:
    """Create those that are missing, and return their names; raises DatabaseError for one with other columns."""
    missing = lacking(connection)
    for name in missing:
        schema.table(name).create(connection)
    for table in EXTRA:
        _require_columns(connection, table.name)
    return missing


def lacking(connection: Connection) -> list[str]:
    """The names of those that the database does not have."""
    return [each.name for each in EXTRA if not sa.inspect(connection).has_table(each.name)]


def _require_columns(connection: Connection, name: str) -> None:
    declared = {column.name: column.type.compile(connection.dialect) for column in schema.table(name).columns}
    found = sa.inspect(connection).get_columns(name)
    there = {column["name"]: column["type"].compile(connection.dialect) for column in found}
    other = [column for column in declared | there if declared.get(column) != there.get(column)]
    if other:
        raise DatabaseError(
            f"table {name} of FINANCEHUB_TABLES differs from the one in the database in {', '.join(other)}: "
            "alter or drop the one in the database, or give the declared one another name"
        )
