"""Databases as a whole: making sure that one exists on its server.

Does not belong here: what is inside a database.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from financehub_dagster.storage.engine import describe, make_engine
from financehub_dagster.storage.errors import DatabaseError, NotMigrated, Refused
from financehub_dagster.storage.sessions import AS_UTF8, ENCODING

MAINTENANCE_DATABASE = "postgres"
"""Every server has it; databases are created and dropped from there."""

_CREATE_LOCK = 7_236_400_001
"""Advisory lock under which databases are created: any number that nobody else uses."""


def ensure_database(url: URL) -> bool:
    """Create the database of `url` if its server has none of that name, and say whether; raises DatabaseError."""
    try:
        with autocommit(url):
            return False
    except (NotMigrated, Refused) as error:
        with autocommit(url.set(database=MAINTENANCE_DATABASE), any_encoding=True) as connection:
            if _create(connection, url):
                return True
            # It exists by now, or the server refused in words of another language for another reason.
            if isinstance(error, Refused):
                raise error from None
            return False


@contextmanager
def autocommit(url: URL, *, any_encoding: bool = False) -> Iterator[Connection]:
    """A connection of its own to the database of `url`, each statement its own transaction; raises DatabaseError."""
    engine = make_engine(url, any_encoding=any_encoding, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    except DatabaseError as error:
        raise error from None


def _create(connection: Connection, url: URL) -> bool:
    connection.execute(sa.select(sa.func.pg_advisory_lock(_CREATE_LOCK)))
    exists = sa.text("select 1 from pg_database where datname = :name")
    if connection.execute(exists, {"name": url.database}).first():
        return False
    name = connection.dialect.identifier_preparer.quote_identifier(str(url.database))
    statement = f"create database {name}{_encoded(connection)}"
    try:
        connection.exec_driver_sql(statement)
    except (sa.exc.DBAPIError, DatabaseError) as error:
        first = str(getattr(error, "orig", error)).partition("\n")[0]
        raise DatabaseError(
            f"user {url.username!r} cannot create the {describe(url)} ({first}): have the server's administrator run "
            f"`{statement} owner {connection.dialect.identifier_preparer.quote_identifier(str(url.username))}`"
        ) from None
    return True


def _encoded(connection: Connection) -> str:
    """What makes a new database UTF8 where the server's template is not."""
    template = sa.text("select pg_encoding_to_char(encoding) from pg_database where datname = 'template1'")
    if connection.execute(template).scalar() == ENCODING:
        return ""
    return f" {AS_UTF8}"
