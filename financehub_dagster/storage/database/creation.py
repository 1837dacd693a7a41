"""Databases as a whole: making sure that one exists on its server.

Does not belong here: what is inside a database.
"""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from financehub_dagster.storage.database.engine import make_engine
from financehub_dagster.storage.database.errors import DatabaseError, LockTimeout, NotMigrated, Refused
from financehub_dagster.storage.database.refusals import connection_error, describe
from financehub_dagster.storage.database.session_settings import AS_UTF8, ENCODING, LOCK_SECONDS

MAINTENANCE_DATABASE = "postgres"
"""Every server has it; databases are created and dropped from there."""

PAUSE_SECONDS = 0.05
"""Between two looks whether a lock is free."""
_CREATE_LOCK = 7_236_400_001
"""Advisory lock under which databases are created: any number that nobody else uses."""


def ensure_database(url: URL) -> None:
    """Create the database of `url` if its server has none of that name; raises DatabaseError."""
    try:
        with autocommit(url):
            return
    except (NotMigrated, Refused) as error:
        maintenance = url.set(database=MAINTENANCE_DATABASE)
        with locked(maintenance, _CREATE_LOCK), autocommit(maintenance, any_encoding=True) as connection:
            created = _create(connection, url)
            # It exists by now, or the server refused in words of another language for another reason.
            if not created and isinstance(error, Refused):
                raise error from None


@contextmanager
def autocommit(url: URL, *, any_encoding: bool = False) -> Iterator[Connection]:
    """A connection of its own to the database of `url`, each statement its own transaction; raises DatabaseError."""
    engine = make_engine(url, any_encoding=any_encoding, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    except DatabaseError as error:
        raise error from None


@contextmanager
def locked(url: URL, lock: int, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold an advisory lock of the database of `url`, for which others wait up to `seconds`; raises DatabaseError.

    An idle transaction holds it: a lock of a session would stay behind with a pooler. Nobody waits within a statement
    or a transaction: a concurrent build of an index waits for every statement that began before it, and waiting
    transactions would take all the sessions of a pooler.
    """
    engine = make_engine(url, any_encoding=True, poolclass=NullPool)
    deadline = time.monotonic() + seconds
    with engine.connect() as connection:
        while not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(lock))).scalar():
            connection.rollback()
            if time.monotonic() > deadline:
                raise LockTimeout(f"{describe(url)}: another process has been preparing it for {seconds:.0f} s")
            time.sleep(PAUSE_SECONDS)
        connection.exec_driver_sql("set local idle_in_transaction_session_timeout = 0")
        yield


def answers(url: URL, seconds: float) -> None:
    """A new connection to the database of `url` answers within `seconds`; raises DatabaseError, or TimeoutError.

    A server that is frozen takes a connection all the same, since the system does: the wait is bounded here.
    """
    import psycopg.conninfo

    address: dict[str, Any] = {"user": url.username, "password": url.password, "host": url.host, "port": url.port}
    address |= {**url.query, "dbname": url.database, "connect_timeout": max(2, int(seconds))}
    given = {name: value for name, value in address.items() if value is not None}
    try:
        found = psycopg.connect(psycopg.conninfo.make_conninfo("", **given), autocommit=True)
    except psycopg.errors.ConnectionTimeout:
        raise TimeoutError from None
    except psycopg.OperationalError as error:
        raise connection_error(url, str(error)) from None
    try:
        found.pgconn.send_query(b"select 1")
        deadline = time.monotonic() + seconds
        while found.pgconn.is_busy():
            if not select.select([found.fileno()], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError
            found.pgconn.consume_input()
    except psycopg.OperationalError as error:
        raise connection_error(url, str(error)) from None
    finally:
        found.close()


def _create(connection: Connection, url: URL) -> bool:
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
