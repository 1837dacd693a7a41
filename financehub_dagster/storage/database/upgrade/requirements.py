"""What a person's own database must allow before anything is migrated: both databases, tables in them, and writes.

Belongs here: asking for it and the remedy for each lack. Does not belong here: what a connection is refused for at once
(`session_settings`, `refusals`).
"""

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from financehub_dagster.storage.database.creation import autocommit, ensure_database
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.refusals import describe
from financehub_dagster.storage.database.session_settings import is_pooled
from financehub_dagster.storage.database.urls import dagster_database, setting_of

_ASKED = sa.text("""
    select quote_ident(current_user) as role, quote_ident(current_database()) as database,
        quote_ident(current_schema()) as schema, current_setting('search_path') as search_path,
        has_schema_privilege(current_schema(), 'create') as may_create_tables,
        has_database_privilege(current_database(), 'temporary') as may_create_temporary_tables,
        pg_is_in_recovery() as is_standby, current_setting('default_transaction_read_only')::boolean as is_read_only
""")


def require(market: URL) -> None:
    """Create the market database at `market` and Dagster's beside it, if missing; raises DatabaseError for a lack."""
    for url in (market, dagster_database(market)):
        ensure_database(url)
        with autocommit(url) as connection:
            check(connection, url)


def require_direct(url: URL, purpose: str) -> None:
    """Raise DatabaseError where the database at `url` is reached by way of a pooler."""
    with autocommit(url) as connection:
        if is_pooled(connection):
            raise DatabaseError(
                f"{describe(url)} is reached by way of a pooler, and {purpose} needs sessions of its own: set "
                f"{setting_of(url)} to the server's own address for this command"
            )


def check(connection: Connection, url: URL) -> None:
    """Raise DatabaseError, with the statement that helps, where the user of `url` cannot keep tables there."""
    found = connection.execute(_ASKED).one()
    if found.is_standby:
        lack = "is a standby, which accepts no writes: point FINANCEHUB_DATABASE_URL to the primary"
    elif found.is_read_only:
        lack = (
            "accepts no writes by default, as a database that is being moved: point FINANCEHUB_DATABASE_URL to the new "
            f"one, or run `alter database {found.database} (or role {found.role}) reset default_transaction_read_only`"
        )
    elif found.schema is None:
        first = found.search_path.partition(",")[0].strip()
        create = f"`create schema {found.role if first == '"$user"' else first}` there, or " if first else ""
        lack = (
            f"has none of the schemas in the search_path ({found.search_path}): run {create}"
            f"`alter role {found.role} set search_path = public`"
        )
    elif not found.may_create_tables:
        lack = (
            f"lets user {found.role} create no tables in schema {found.schema}: have the administrator run "
            f"`grant create on schema {found.schema} to {found.role}` there"
        )
    elif not found.may_create_temporary_tables:
        lack = (
            f"lets user {found.role} create no temporary tables: have the administrator run "
            f"`grant temporary on database {found.database} to {found.role}`"
        )
    else:
        return
    raise DatabaseError(f"{describe(url)} {lack}")
