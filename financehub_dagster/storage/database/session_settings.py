"""What every session of ours starts with, whatever the role, the database or the environment would have it be.

Belongs here: the settings that reading and writing rely on, and the servers that will not do. Does not belong here:
opening connections (`engine`).
"""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

LOCK_SECONDS = 120
"""A writer waits this long for another one before it gives up."""
IDLE_SECONDS = 900
"""A transaction whose program sends nothing for this long was left behind: the server ends it and frees its locks."""

OLDEST_SERVER = 14
"""Major version of PostgreSQL; idle_session_timeout is the newest thing we use."""
ENCODING = "UTF8"
AS_UTF8 = f"encoding '{ENCODING}' locale 'C' template template0"
"""Makes a new database UTF8 whatever the server's template is; a locale may belong to another encoding, C to none."""
CONNECT_ARGUMENTS = {"connect_timeout": 10, "application_name": "financehub", "client_encoding": ENCODING}
"""Both drivers decode what the server sends by the encoding that was agreed on at the start. An address may override
the others."""

SETTINGS = {
    # How dates, times, bytes and numbers are written as text, and texts and arrays are read.
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    # What a transaction sees, and how long anything may take. Our own limits are those on locks and idling.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "idle_session_timeout": "0",
}
"""default_transaction_read_only stays as it is: it protects a database that is being moved (`requirements`)."""
SINCE_17 = {"transaction_timeout": "0"}
NOT_PSYCOPG2 = {"standard_conforming_strings": "on"}
"""psycopg2 writes literals as the session began, and would lose backslashes if that changed."""


def prepare(connection: Any, driver: str) -> None:
    """Give a new connection of `driver` (psycopg, psycopg2) our settings, in one round trip."""
    settings = SETTINGS | {
        "lock_timeout": f"{LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
    }
    if connection.info.server_version >= 170000:
        settings |= SINCE_17
    if driver != "psycopg2":
        settings |= NOT_PSYCOPG2
    cursor = connection.cursor()
    cursor.execute("; ".join(f"set {name} = '{value}'" for name, value in settings.items()))
    cursor.close()
    connection.commit()


def prepare_all(engine: Engine) -> None:
    """Have every new connection of `engine` start with our settings, before what others set on it."""
    driver = engine.dialect.driver
    event.listen(engine, "connect", lambda connection, _record: prepare(connection, driver), insert=True)


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
