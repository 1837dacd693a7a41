"""The schema of the market database, step by step; run from here, without an ini file.

`upgrade` brings a database to the newest step, `versions/` holds the steps, `env.py` is Alembic's entry. Does not
belong here: the declared tables, which the newest step must equal (`storage.database.schema`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from financehub_dagster.storage.database import as_of_functions, repaired_views, schema
from financehub_dagster.storage.database.creation import autocommit, ensure_database
from financehub_dagster.storage.database.engine import make_engine
from financehub_dagster.storage.database.upgrade import extra_tables, partition_indexes
from financehub_dagster.storage.database.upgrade.requirements import check
from financehub_dagster.storage.database.upgrade.revisions import HEAD, STEPS, unknown
from financehub_dagster.storage.database.urls import market_url

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATE_LOCK = 7_236_400_002
"""Advisory lock under which migrations run: any number that nobody else uses."""


def upgrade(url: URL | None = None, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the market database (or the one at `url`) to `revision`, creating it if missing.

    Returns the revisions before and after. One transaction: a step that fails leaves the database as it was. Indexes of
    partitions are built after it, without holding anybody up. Concurrent calls wait for each other. At the newest step
    the functions that read tables as of a time follow the declared tables (`as_of_functions`), and tables that are
    declared beside the product and the views of repaired bars are created; coming from an earlier one, stored bars are
    repaired. Raises DatabaseError, also for a database of a newer program.
    """
    from financehub_dagster.storage import repaired_bars

    url = url or market_url()
    ensure_database(url)
    with _migrating(url) as connection:
        check(connection, url)
        before = _revision(connection)
        _refuse_unknown(before)
        if before != head():
            from alembic import command  # 10 MB, which a platform that is up to date does without

            as_of_functions.drop(connection)
            command.upgrade(_config(connection), revision)
        after = _revision(connection)
        if after == head():
            extra_tables.create(connection)
            as_of_functions.create(connection, schema.metadata)
            repaired_views.create(connection, schema.metadata)
        if before is not None and after == head() != before:
            repaired_bars.repair_stored(connection)
    with autocommit(url) as connection:
        partition_indexes.complete(connection)
    return before, after


def downgrade(url: URL, revision: str) -> None:
    """Take the database at `url` back to `revision`; "base" removes every table."""
    from alembic import command

    with _migrating(url) as connection:
        as_of_functions.drop(connection)
        command.downgrade(_config(connection), revision)


def current(url: URL | None = None) -> str | None:
    """The revision of the market database (or the one at `url`), None before any; raises DatabaseError."""
    engine = make_engine(url or market_url(), poolclass=NullPool)  # workers, which ask often, keep no connection
    with engine.connect() as connection:
        return _revision(connection)


def head() -> str:
    """The newest revision this program knows."""
    return HEAD


def is_known(revision: str) -> bool:
    """Whether `revision` is a step of this program."""
    return revision in STEPS


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _migrating(url: URL) -> Iterator[Connection]:
    engine = make_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATE_LOCK)))
        yield connection


def _revision(connection: Connection) -> str | None:
    """What Alembic's table says, where there is one."""
    if connection.execute(sa.text("select to_regclass('alembic_version')")).scalar() is None:
        return None
    return connection.execute(sa.text("select version_num from alembic_version")).scalar()


def _refuse_unknown(revision: str | None) -> None:
    if revision is not None and not is_known(revision):
        raise unknown(revision)
