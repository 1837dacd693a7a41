"""What every session of ours starts with, whatever the role, the database or the environment would have it be.

Belongs here: the settings that reading and writing rely on, and the servers that will not do. Does not belong here:
opening connections (`engine`).

Behind a pooler such as PgBouncer each transaction may run in another session, which programs share: nothing is kept in
a session there. Limits on time are set in each transaction, and what a role brings is refused instead of overridden.
"""

import select
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import PoolProxiedConnection

from financehub_dagster.storage.database.errors import DatabaseError

LOCK_SECONDS = 120
"""A writer waits this long for another one before it gives up."""
IDLE_SECONDS = 900
"""A transaction whose program sends nothing for this long was left behind: the server ends it and frees its locks."""

OLDEST_SERVER = 14
"""Major version of PostgreSQL; idle_session_timeout is the newest thing we use."""
ENCODING = "UTF8"
AS_UTF8 = f"encoding '{ENCODING}' locale 'C' template template0"
"""Makes a new database UTF8 whatever the server's template is; a locale may belong to another encoding, C to none."""
UNANSWERED_SECONDS = 30
"""A connection whose other end has acknowledged nothing for this long is over: a network that is cut says nothing, and
left to themselves client and server would wait for a quarter of an hour to two hours. No query is too slow for it: the
system acknowledges, not the program."""
NETWORK = {
    "keepalives_idle": UNANSWERED_SECONDS // 2,
    "keepalives_interval": UNANSWERED_SECONDS // 6,
    "keepalives_count": 3,
    "tcp_user_timeout": UNANSWERED_SECONDS * 1000,
}
"""libpq's words for it, for our end."""
CONNECT_ARGUMENTS = {"connect_timeout": 10, "application_name": "financehub", "client_encoding": ENCODING, **NETWORK}
"""Both drivers decode what the server sends by the encoding that was agreed on at the start. An address may override
the others."""

FOLLOWED_BY_POOLERS = {"TimeZone": "UTC", "DateStyle": "ISO, YMD"}
"""PgBouncer knows what a client has set of these, and sets it on each session it lends to that client."""
READING = {
    # How times, bytes and numbers are written as text, and texts and arrays are read; what a transaction sees.
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}
"""default_transaction_read_only stays as it is: it protects a database that is being moved (`requirements`)."""
LIMITS = {
    "statement_timeout": "0",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
}
"""How long anything may take."""
BETWEEN_TRANSACTIONS = {"idle_session_timeout": "0"}
OTHER_END = {
    "tcp_keepalives_idle": str(UNANSWERED_SECONDS // 2),
    "tcp_keepalives_interval": str(UNANSWERED_SECONDS // 6),
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": str(UNANSWERED_SECONDS * 1000),
}
"""The same for the server's end, which holds the locks of a program that it cannot reach any more. A socket in a folder
has no such settings and takes them all the same."""
SINCE_17 = {"transaction_timeout": "0"}
NOT_PSYCOPG2 = {"standard_conforming_strings": "on"}
"""psycopg2 writes literals as the session began, and would lose backslashes if that changed."""

RESTED_SECONDS = 1.0
"""A connection that nobody has used for this long is asked whether its server is there before it is used again."""
_RESTS_SINCE = "rests since"
_LOCALLY = "set in each transaction"
"""Under this name a connection that a pooler lends keeps the statement for it."""


def prepare_all(engine: Engine, limits: Mapping[str, str] | None = None) -> None:
    """Have every new connection of `engine` start with our settings, before what others set on it.

    limits: what to set instead of some of ours. Behind a pooler they hold in transactions alone, not in autocommit.
    """
    driver = engine.dialect.driver

    @event.listens_for(engine, "connect", insert=True)
    def connected(connection: Any, record: Any) -> None:
        ours = LIMITS | (SINCE_17 if connection.info.server_version >= 170000 else {}) | dict(limits or {})
        if not _is_pooled(connection):
            _send(connection, _assigned(_of_session(driver) | READING | ours | BETWEEN_TRANSACTIONS | OTHER_END))
            return
        record.info[_LOCALLY] = _assigned(ours, "set local")
        if driver == "psycopg":
            connection.prepare_threshold = None
        _send(connection, _assigned(_of_session(driver)))
        _require_plain_role(connection, engine.url)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        if is_pooled(connection) and not connection.connection.driver_connection.autocommit:  # type: ignore[union-attr]
            connection.exec_driver_sql(connection.info[_LOCALLY])


def ask_after_rest(engine: Engine) -> None:
    """Have each connection of the pool that rested show that its server is there, and be replaced otherwise.

    SQLAlchemy's own pool_pre_ping asks before every use, which is half of all statements of a run. A server that ends
    closes the socket, which shows without asking.
    """

    @event.listens_for(engine, "checkin")
    def rests(_connection: Any, record: Any) -> None:
        record.info[_RESTS_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def is_used(connection: Any, record: Any, _proxy: Any) -> None:
        since = record.info.get(_RESTS_SINCE)
        if since is None or (time.monotonic() - since < RESTED_SECONDS and not _has_news(connection)):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise InvalidatePoolError from None


def _has_news(connection: Any) -> bool:
    """Whether the server has sent something that nobody asked for, such as its end."""
    if connection.closed:
        return True
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    return bool(socket.poll(0))


def is_pooled(connection: Connection | PoolProxiedConnection) -> bool:
    """Whether a pooler lends the sessions of this connection."""
    return _LOCALLY in connection.info


def _of_session(driver: str) -> dict[str, str]:
    return FOLLOWED_BY_POOLERS | ({} if driver == "psycopg2" else NOT_PSYCOPG2)


def _is_pooled(connection: Any) -> bool:
    """A pooler tells its clients a number of its own for the server's process."""
    cursor = connection.cursor()
    cursor.execute("select pg_backend_pid()")
    [pid] = cursor.fetchone()
    cursor.close()
    return bool(pid != connection.info.backend_pid)


def _require_plain_role(connection: Any, url: URL) -> None:
    """Raise DatabaseError where role or database bring what we would override in a session of our own."""
    from financehub_dagster.storage.database.refusals import describe

    wanted = "select * from (values {}) as ours (name, value) where current_setting(name) <> value"
    rows = ", ".join(f"('{name}', '{value}')" for name, value in READING.items())
    cursor = connection.cursor()
    cursor.execute(wanted.format(rows))
    differing = dict(cursor.fetchall())
    cursor.close()
    connection.commit()
    if differing:
        connection.close()
        assigned = "; ".join(f"alter role {url.username} set {name} = '{value}'" for name, value in differing.items())
        raise DatabaseError(
            f"{describe(url)} is reached by way of a pooler, whose sessions we cannot give our settings: run "
            f"`{assigned}` and have the pooler reconnect"
        )


def _assigned(settings: Mapping[str, str], word: str = "set") -> str:
    return "; ".join(f"{word} {name} = '{value}'" for name, value in settings.items())


def _send(connection: Any, statements: str) -> None:
    cursor = connection.cursor()
    cursor.execute(statements)
    cursor.close()
    connection.commit()


def refusal(connection: Any, *, any_encoding: bool) -> str | None:
    """Why this server or this database will not do, with the remedy; None when it will."""
    version = connection.info.server_version
    if version < OLDEST_SERVER * 10000:
        found = connection.info.parameter_status("server_version")
        return f"runs PostgreSQL {found}, and this program needs {OLDEST_SERVER} or later: upgrade the server"
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING and not any_encoding:
        name = connection.info.dbname.replace('"', '""')
        return (
            f"is encoded in {encoding}, which does not hold every text that vendors send: move it away and run "
            f'`create database "{name}" {AS_UTF8}`'
        )
    return None
