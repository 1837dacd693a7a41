"""What a database holds: its tables, their rows, and who else is connected.

Belongs here: these questions to one database. Does not belong here: what follows from the answers.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection

_TABLES = sa.text("""
    select c.relname from pg_class c where c.relnamespace = current_schema()::regnamespace
        and c.relkind in ('r', 'p') and not c.relispartition
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by c.relname
""")
_OTHERS = sa.text("""
    select distinct coalesce(nullif(application_name, ''), 'a program without a name') from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' order by 1
""")


def schema_of(connection: Connection) -> str:
    """The schema in which tables are made."""
    return str(connection.execute(sa.text("select current_schema()")).scalar_one())


def major_version(connection: Connection) -> int:
    """The server's major version."""
    return int(connection.execute(sa.text("select current_setting('server_version_num')::int / 10000")).scalar_one())


def tables(connection: Connection) -> list[str]:
    """The tables of the current schema; a partitioned one is one table, and those of extensions are left out."""
    return list(connection.execute(_TABLES).scalars())


def rows(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """The exact number of rows of each table: reads all of them."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    return {name: int(connection.exec_driver_sql(f"select count(*) from {quote(name)}").scalar_one()) for name in names}


def other_programs(connection: Connection) -> list[str]:
    """The names of other programs that are connected to this database."""
    return list(connection.execute(_OTHERS).scalars())
