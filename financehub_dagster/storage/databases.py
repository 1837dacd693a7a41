"""Databases as a whole: making sure that one exists on its server.

Does not belong here: what is inside a database.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from financehub_dagster.storage.engine import describe, make_engine
from financehub_dagster.storage.errors import DatabaseError, NotMigrated

MAINTENANCE_DATABASE = "postgres"
"""Every server has it; databases are created and dropped from there."""

_CREATE_LOCK = 7_236_400_001
"""Advisory lock under which databases are created: any number that nobody else uses."""


def ensure_database(url: URL) -> bool:
    """Create the database of `url` if its server has none of that name, and say whether; raises DatabaseError."""
    try:
        with autocommit(url):
            return False
    except NotMigrated:
        with autocommit(url.set(database=MAINTENANCE_DATABASE)) as connection:
            return _create(connection, url)


@contextmanager
def autocommit(url: URL) -> Iterator[Connection]:
    """A connection of its own to the database of `url`, each statement its own transaction; raises DatabaseError."""
    engine = make_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def _create(connection: Connection, url: URL) -> bool:
    connection.execute(sa.select(sa.func.pg_advisory_lock(_CREATE_LOCK)))
    exists = sa.text("select 1 from pg_database where datname = :name")
    if connection.execute(exists, {"name": url.database}).first():
        return False
    name = connection.dialect.identifier_preparer.quote_identifier(str(url.database))
    try:
        connection.exec_driver_sql(f"create database {name}")
    except sa.exc.ProgrammingError:
        raise DatabaseError(
            f"user {url.username!r} may not create the {describe(url)}: have the server's administrator create it"
        ) from None
    return True
