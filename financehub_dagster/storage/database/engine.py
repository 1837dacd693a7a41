"""Connections to the market database.

Belongs here: the engine, its pool and timeouts, the database's clock, which all machines of a deployment share, and the
translation of driver errors into one line each. Does not belong here: any other query.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Dialect, Engine, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection

from financehub_dagster.storage.database import session_settings, urls
from financehub_dagster.storage.database.errors import DatabaseError, DatabaseUnreachable
from financehub_dagster.storage.database.refusals import connection_error, describe, statement_error

__all__ = ["Connection", "Engine", "make_engine", "market_engine", "raw_cursor", "transaction"]

KEPT, MOST = 4, 16
"""Connections of a process to the market database: those it keeps when nobody uses them, and the most at a time."""
WAIT_SECONDS = 30
"""How long a thread waits for one of them."""


@cache
def market_engine() -> Engine:
    """The engine of this process; connects, and starts the embedded server, at its first use and again after a loss."""
    if urls.is_embedded():
        placeholder = URL.create(urls.MARKET_DRIVER, username="postgres", database=urls.EMBEDDED_DATABASE)
        return make_engine(placeholder, embedded=True)
    return make_engine(urls.market_url())


def make_engine(url: URL, *, embedded: bool = False, any_encoding: bool = False, **options: Any) -> Engine:
    """An engine on `url` with our timeouts and errors; `options` go to sqlalchemy.create_engine.

    A server that is too old and, unless `any_encoding`, a database that is not UTF8 raise DatabaseError.
    """
    defaults = {"pool_size": KEPT, "max_overflow": MOST - KEPT, "pool_timeout": WAIT_SECONDS}
    if "poolclass" in options:
        defaults = {}
    arguments = {name: url.query.get(name, value) for name, value in session_settings.CONNECT_ARGUMENTS.items()}
    arguments["client_encoding"] = session_settings.ENCODING
    engine = sa.create_engine(url, connect_args=arguments, **{**defaults, **options})

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, _record: Any, arguments: Any, parameters: dict[str, Any]) -> DBAPIConnection:
        if embedded:
            server = urls.embedded_url()
            parameters |= {"host": server.query["host"], "port": server.port}
        try:
            connection = dialect.connect(*arguments, **parameters)
        except dialect.loaded_dbapi.Error as error:
            raise connection_error(url, str(error)) from None
        refused = session_settings.refusal(connection, any_encoding=any_encoding)
        if refused is not None:
            connection.close()
            raise DatabaseError(f"{describe(url)} {refused}")
        return connection

    session_settings.prepare_all(engine)
    session_settings.ask_after_rest(engine)
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
    except sa.exc.TimeoutError:
        place = describe(market_engine().url)
        raise DatabaseUnreachable(
            f"this process has used all its {MOST} connections to {place} for {WAIT_SECONDS} s: do less at a time"
        ) from None


@contextmanager
def raw_cursor(connection: Connection, *, binary: bool = False) -> Iterator[Any]:
    """The driver's own cursor on `connection`, for what SQLAlchemy has no words for; errors are translated as usual."""
    import psycopg

    try:
        with connection.connection.driver_connection.cursor(binary=binary) as cursor:  # type: ignore[union-attr]
            yield cursor
    except psycopg.Error as error:
        lost = isinstance(error, psycopg.OperationalError) and connection.connection.driver_connection.closed  # type: ignore[union-attr]
        translated = statement_error(connection.engine.url, error, lost=lost)
        if translated is None:
            raise
        raise translated from None


def database_time(connection: sa.Connection) -> datetime:
    """What the database's clock shows now (aware)."""
    found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found


def database_now() -> datetime:
    """The same, in a transaction of its own."""
    with transaction() as connection:
        return database_time(connection)


def _translate(context: ExceptionContext) -> BaseException | None:
    error = context.original_exception
    # SQLAlchemy calls a connection lost on which Ctrl-C, or Dagster that cancels a run, breaks a statement off.
    if context.engine is None or not isinstance(error, Exception):
        return None
    return statement_error(context.engine.url, error, lost=context.is_disconnect)
