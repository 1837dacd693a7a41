"""Where the two databases are: the market data, and Dagster's own storage in a database beside it.

Belongs here: turning FINANCEHUB_DATABASE_URL, or the embedded server, into addresses with the right driver. Does not
belong here: connecting to them.
"""

import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.errors import DatabaseError

EMBEDDED_DATABASE = "financehub"
DAGSTER_SUFFIX = "_dagster"
MARKET_DRIVER = "postgresql+psycopg"
"""psycopg 3, which the writer needs for COPY."""
DAGSTER_DRIVER = "postgresql+psycopg2"
"""What dagster-postgres is written for; SQLAlchemy 2.1 would take a bare `postgresql://` as psycopg 3."""

_EXAMPLE = "postgresql://user:password@host:port/database"


def is_embedded() -> bool:
    """Whether the embedded server is the one to use."""
    return get_settings().financehub_database_url is None


def parse_url(text: str) -> URL:
    """`text` as the address of the market database; raises DatabaseError, which never shows `text`."""
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseError(f"FINANCEHUB_DATABASE_URL cannot be read: write {_EXAMPLE}") from None
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise DatabaseError(f"FINANCEHUB_DATABASE_URL is not a PostgreSQL address: write {_EXAMPLE}")
    if not url.database:
        raise DatabaseError(f"FINANCEHUB_DATABASE_URL names no database: write {_EXAMPLE}")
    return url.set(drivername=MARKET_DRIVER)


def embedded_url() -> URL:
    """The market database of the embedded server, which is started if needed; raises DatabaseError."""
    from financehub_dagster.storage import embedded

    server = embedded.ensure_running(get_settings().home)
    return URL.create(
        MARKET_DRIVER, username="postgres", database=EMBEDDED_DATABASE, query={"host": str(server.socket_folder)}
    )


def market_url() -> URL:
    """The address of the market database; starts the embedded server if that is the one to use."""
    configured = get_settings().financehub_database_url
    return embedded_url() if configured is None else parse_url(configured.get_secret_value())


def beside(url: URL) -> URL:
    """The database of Dagster's own storage that belongs to the market database at `url`."""
    return url.set(drivername=DAGSTER_DRIVER, database=f"{url.database}{DAGSTER_SUFFIX}")


def dagster_url() -> str:
    """The address of Dagster's own storage, password included, with the driver that dagster-postgres needs."""
    return beside(market_url()).render_as_string(hide_password=False)
