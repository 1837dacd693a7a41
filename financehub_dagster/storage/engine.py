"""Connections to the market database.

Belongs here: the engine, its pool and timeouts, and the translation of driver errors into one line each. Does not
belong here: any query.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Dialect, Engine, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection

from financehub_dagster.storage import urls
from financehub_dagster.storage.errors import DatabaseError, DatabaseUnreachable, NotMigrated, WrongPassword

__all__ = [
    "Connection",
    "Engine",
    "connection_error",
    "describe",
    "make_engine",
    "market_engine",
    "raw_cursor",
    "reset_engine",
    "transaction",
]

CONNECT_SECONDS = 10
LOCK_SECONDS = 120
"""A writer waits this long for another one before it gives up."""

_MIGRATE = "run `financehub db upgrade`"
_MISSING = {"42P01", "42703", "3F000"}
"""SQLSTATE of undefined table, column and schema (PostgreSQL documentation, appendix A)."""
_REFUSED = {
    "55P03": f"another transaction has held the rows for {LOCK_SECONDS} s; end it, or try again when it is done",
    "23505": "another program has stored the same rows meanwhile; try again",
    "53100": "make room on the server's disk",
    "25006": "the server accepts no writes; point FINANCEHUB_DATABASE_URL to the primary",
}
"""SQLSTATE of lock not available, unique violation, disk full and read-only transaction, and what to do about each."""


@cache
def market_engine() -> Engine:
    """The engine of this process; connects, and starts the embedded server, at its first use and again after a loss."""
    if urls.is_embedded():
        placeholder = URL.create(urls.MARKET_DRIVER, username="postgres", database=urls.EMBEDDED_DATABASE)
        return make_engine(placeholder, embedded=True)
    return make_engine(urls.market_url())


def reset_engine() -> None:
    """Close the engine of this process; the next call of `market_engine` reads the settings again."""
    if market_engine.cache_info().currsize:
        market_engine().dispose()
    market_engine.cache_clear()


def make_engine(url: URL, *, embedded: bool = False, **options: Any) -> Engine:
    """An engine on `url` with our timeouts and errors; `options` go to sqlalchemy.create_engine."""
    defaults = {"pool_size": 4, "max_overflow": 12, "pool_pre_ping": True, "pool_timeout": 30}
    if "poolclass" in options:
        defaults = {}
    engine = sa.create_engine(
        url,
        connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "financehub"},
        **{**defaults, **options},
    )

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, _record: Any, arguments: Any, parameters: dict[str, Any]) -> DBAPIConnection:
        if embedded:
            parameters["host"] = urls.embedded_url().query["host"]
        try:
            return dialect.connect(*arguments, **parameters)
        except dialect.loaded_dbapi.OperationalError as error:
            raise connection_error(url, str(error)) from None

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"set time zone 'UTC'; set lock_timeout = '{LOCK_SECONDS}s'")
        cursor.close()
        connection.commit()

    event.listen(engine, "handle_error", _translate)
    return engine


@contextmanager
def transaction() -> Iterator[Connection]:
    """A connection to the market database in one transaction: committed at the end, rolled back on any error.

    A DatabaseError stands alone: SQLAlchemy chains the driver's own to it, and who reports the cause would show that.
    """
    try:
        with market_engine().begin() as connection:
            yield connection
    except DatabaseError as error:
        raise error from None


@contextmanager
def raw_cursor(connection: Connection, *, binary: bool = False) -> Iterator[Any]:
    """The driver's own cursor on `connection`, for what SQLAlchemy has no words for; errors are translated as usual."""
    import psycopg

    try:
        with connection.connection.driver_connection.cursor(binary=binary) as cursor:  # type: ignore[union-attr]
            yield cursor
    except psycopg.Error as error:
        lost = isinstance(error, psycopg.OperationalError) and connection.connection.driver_connection.closed  # type: ignore[union-attr]
        translated = typed_error(connection.engine.url, error, lost=lost)
        if translated is None:
            raise
        raise translated from None


def connection_error(url: URL, reason: str) -> DatabaseError:
    """The typed error for a connection that failed with the driver's `reason`."""
    place = describe(url)
    if "password" in reason or "no pg_hba.conf entry" in reason or ('role "' in reason and "does not exist" in reason):
        return WrongPassword(f"{place} refuses user {url.username!r} or the password: correct FINANCEHUB_DATABASE_URL")
    if 'database "' in reason and "does not exist" in reason:
        return NotMigrated(f"{place} does not exist: {_MIGRATE}")
    first = next((line.strip() for line in reason.splitlines() if line.strip()), "no answer")
    if url.password:
        first = first.replace(str(url.password), "***")
    return DatabaseUnreachable(
        f"{place} cannot be reached ({first}): start the server or correct FINANCEHUB_DATABASE_URL"
    )


def describe(url: URL) -> str:
    """Names the database and the server of `url`, without user and password."""
    host = url.host or url.query.get("host") or "the local socket"
    port = f":{url.port}" if url.port else ""
    return f"database {url.database!r} on {host if isinstance(host, str) else host[0]}{port}"


def typed_error(url: URL, error: BaseException, *, lost: bool) -> DatabaseError | None:
    """The typed error for a statement that failed, if it is one of ours: a lost connection, or tables not there."""
    if lost:
        return connection_error(url, str(error))
    state = getattr(error, "sqlstate", None)
    first = str(error).partition("\n")[0]
    if state in _MISSING:
        return NotMigrated(f"{describe(url)} is older than this program ({first}): {_MIGRATE}")
    if state in _REFUSED:
        return DatabaseError(f"{describe(url)}: {first}; nothing was written: {_REFUSED[state]}")
    return None


def _translate(context: ExceptionContext) -> BaseException | None:
    if context.is_pre_ping or context.engine is None or context.original_exception is None:
        return None
    return typed_error(context.engine.url, context.original_exception, lost=context.is_disconnect)
