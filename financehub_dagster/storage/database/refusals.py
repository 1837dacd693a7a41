"""From what a driver says to one line: which database, what is wrong, what to do about it.

Belongs here: the words and SQLSTATEs of PostgreSQL's refusals. Does not belong here: connecting (`engine`). No message
holds a password. A refused connection has no SQLSTATE, so its words decide: where the server speaks another language,
the line still has the server's own reason, with the general remedy.
"""

import re

from sqlalchemy.engine import URL

from financehub_dagster.storage.database import session_settings
from financehub_dagster.storage.database.errors import (
    DatabaseError,
    DatabaseUnreachable,
    LockTimeout,
    NotMigrated,
    Refused,
    StatementFailed,
    WrongPassword,
)
from financehub_dagster.storage.database.masking import mask
from financehub_dagster.storage.database.urls import secrets_of, setting_of

MOST_CHARACTERS = 500
"""Of what the server says: it may quote whole values."""

_MIGRATE = "run `financehub db upgrade`"
_ADDRESS = "correct {setting}"

_CONNECTING: tuple[tuple[str, type[DatabaseError], str], ...] = (
    (r"database \"[^\"]*\" does not exist", NotMigrated, f"{{place}} does not exist: {_MIGRATE}"),
    (
        r"authentication failed|no password supplied|role \"[^\"]*\" does not exist",
        WrongPassword,
        f"{{place}} refuses {{user}} or the password: {_ADDRESS}",
    ),
    (
        r"not permitted to log in",
        WrongPassword,
        "{place} does not let {user} log in: have the administrator run `alter role ... login`",
    ),
    (
        r"permission denied for database",
        WrongPassword,
        "{place} does not let {user} connect: have the administrator run `grant connect on database ...`",
    ),
    (
        r"no pg_hba\.conf entry(?!.*SSL encryption).*(no encryption|SSL off)",
        WrongPassword,
        "{place} refuses {user} without TLS: add ?sslmode=require to {setting}",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        WrongPassword,
        "{place} refuses {user} from this machine: have the administrator add a line to pg_hba.conf",
    ),
    (
        r"certificate verify failed",
        DatabaseUnreachable,
        "{place} shows a certificate of another authority ({reason}): let sslrootcert in {setting} name the right file",
    ),
    (
        r"root certificate file",
        DatabaseUnreachable,
        "{place} cannot be verified ({reason}): let sslrootcert in {setting} name the file of its authority",
    ),
    (
        r"server certificate for .* does not match",
        DatabaseUnreachable,
        "{place} shows a certificate of another host ({reason}): write the name in the certificate into {setting}",
    ),
    (
        r"server does not support SSL",
        DatabaseUnreachable,
        "{place} offers no TLS: take sslmode out of {setting}, or have the administrator turn it on",
    ),
    (
        r"too many (clients|connections)|remaining connection slots",
        DatabaseUnreachable,
        "{place} has no connection left ({reason}): end programs that hold some, or have the limit raised",
    ),
    (
        r"not currently accepting connections",
        DatabaseUnreachable,
        "{place} accepts no connections: have the administrator run `alter database ... allow_connections true`",
    ),
    (
        r"database system is|terminating connection",
        DatabaseUnreachable,
        "{place} cannot be reached now ({reason}): try again in a moment, or start the server",
    ),
)
"""The words are PostgreSQL's own (auth.c, postinit.c, postmaster.c and libpq's fe-connect.c)."""

_PLACE_AGAIN = re.compile(
    r"^(- host: .*?: )?(connection (failed|is bad): )?(connection to server (at|on) .* failed: )?(\w+:  )?"
)
"""What drivers write before the reason, and the server's severity."""

_SERVER_SPEAKS = re.compile(r"failed: \w+:  ")
"""A severity, in the server's language, and two spaces: never in what the client finds out by itself."""

_REFUSES = f"{{place}} refuses the connection ({{reason}}): have the administrator mend that, or {_ADDRESS}"
_OTHERWISE = f"{{place}} cannot be reached ({{reason}}): start the server or {_ADDRESS}"

_MISSING = {"42P01", "42703", "3F000"}
"""SQLSTATE of undefined table, column and schema (PostgreSQL documentation, appendix A)."""
_ENDED = {"57P01", "57P02", "57P03", "57P05", "25P03"}
"""SQLSTATE of admin and crash shutdown, cannot connect now, and sessions and transactions that were idle too long: the
session is over, whether the driver has noticed or not."""
_LOST = re.compile(r"(consuming input|flushing) failed|server closed the connection unexpectedly")
"""How errors of psycopg read that a broken connection causes: it may not know yet that the connection is."""
_REFUSED = {
    "55P03": f"another transaction has held the rows for {session_settings.LOCK_SECONDS} s; end it, or try again later",
    "23505": "another program has stored the same rows meanwhile; try again",
    "53100": "make room on the server's disk",
    "53200": "give the server more memory, or fewer programs at a time",
    "25006": "the server accepts no writes; point FINANCEHUB_DATABASE_URL to the primary",
    "42501": "have the administrator grant the user this right, or make the user of FINANCEHUB_DATABASE_URL the owner",
    "42P07": "another program's tables are in the way; give this one a database of its own",
    "57014": "an administrator or a time limit of the server's ended the statement; try again",
}
"""SQLSTATE and what to do about each: lock not available, unique violation, disk full, out of memory, read-only
transaction, insufficient privilege, duplicate table, query canceled."""


def describe(url: URL) -> str:
    """Names the database and the server of `url`, without user and password."""
    host = url.host or url.query.get("host") or "the local socket"
    port = f":{url.port}" if url.port and url.host else ""
    return f"database {url.database!r} on {host if isinstance(host, str) else host[0]}{port}"


def connection_error(url: URL, reason: str) -> DatabaseError:
    """The typed error for a connection that failed or broke with the driver's `reason`."""
    lines = [line.strip() for line in mask(reason, secrets_of(url).values()).splitlines() if line.strip()]
    flat = " ".join(lines)
    words = {
        "place": describe(url),
        "user": f"user {url.username!r}" if url.username else "the user",
        "reason": _first(lines),
        "setting": setting_of(url),
    }
    for pattern, kind, text in _CONNECTING:
        if re.search(pattern, flat):
            return kind(text.format(**words))
    if _SERVER_SPEAKS.search(reason):
        return Refused(_REFUSES.format(**words))
    return DatabaseUnreachable(_OTHERWISE.format(**words))


def ends_session(error: BaseException) -> bool:
    """Whether the session ended with this error of the driver."""
    state = getattr(error, "sqlstate", None)
    return state in _ENDED or (state is None and _LOST.search(str(error)) is not None)


def statement_error(url: URL, error: BaseException, *, lost: bool) -> DatabaseError | None:
    """The typed error for a statement that failed, in one line without the statement, which may be megabytes long.

    None for what is no error of the driver.
    """
    import psycopg

    if lost or ends_session(error):
        return connection_error(url, str(error))
    state = getattr(error, "sqlstate", None)
    first = str(error).partition("\n")[0]
    if state in _MISSING:
        return NotMigrated(f"{describe(url)} is older than this program ({first}): {_MIGRATE}")
    if state in _REFUSED:
        kind = LockTimeout if state == "55P03" else DatabaseError
        return kind(f"{describe(url)}: {first}; nothing was written: {_REFUSED[state]}")
    if isinstance(error, psycopg.Error):
        code = f"{type(error).__name__}, {state}" if state else type(error).__name__
        return StatementFailed(f"{describe(url)} refuses a statement: {first[:MOST_CHARACTERS]} ({code})", state)
    return None


def _first(lines: list[str]) -> str:
    """The line that tells most, without the place; of several addresses that were tried, the last one's."""
    if not lines:
        return "no answer"
    first = lines[0]
    if first.startswith("Multiple connection attempts failed"):
        first = next((line for line in reversed(lines) if line.startswith("- ")), first)
    return _PLACE_AGAIN.sub("", first)
