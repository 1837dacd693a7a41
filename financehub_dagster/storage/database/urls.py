"""Where the two databases are: the market data, and Dagster's own storage in a database beside it.

Belongs here: turning the settings, or the embedded server, into addresses with the right driver. Does not
belong here: connecting to them.
"""

import os
from urllib.parse import quote, unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.errors import DatabaseError

MARKET_SETTING, DAGSTER_SETTING, READ_SETTING = (
    "FINANCEHUB_DATABASE_URL",
    "FINANCEHUB_DAGSTER_DATABASE_URL",
    "FINANCEHUB_READ_DATABASE_URL",
)
EMBEDDED_DATABASE = "financehub"
DAGSTER_SUFFIX = "_dagster"
MARKET_DRIVER = "postgresql+psycopg"
"""psycopg 3, which the writer needs for COPY."""
DAGSTER_DRIVER = "postgresql+psycopg2"
"""What dagster-postgres is written for; SQLAlchemy 2.1 would take a bare `postgresql://` as psycopg 3."""

SECRET_OPTIONS = frozenset({"password", "sslpassword", "oauth_client_secret"})
"""Options of an address that hold a secret (PostgreSQL documentation, Parameter Key Words)."""

_EXAMPLE = "postgresql://user:password@host:port/database"
_LEADING_ELSEWHERE = (
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGCHANNELBINDING",
    "PGGSSENCMODE",
    "PGSSLNEGOTIATION",
    "PGTARGETSESSIONATTRS",
)
"""Variables for a person's other servers; libpq would apply them to the embedded one too, whatever the address says."""


def is_embedded() -> bool:
    """Whether the embedded server is the one to use."""
    return get_settings().financehub_database_url is None


def parse_url(text: str, name: str = MARKET_SETTING) -> URL:
    """The value of the setting `name` as the address of a database; raises DatabaseError, which never shows it.

    It is read as libpq reads it: a plus is a plus, and a host may be the folder of a socket (%2Frun%2Fpostgresql).
    """
    address, mark, options = text.partition("?")
    try:
        url = sa.make_url(address + mark + options.replace("+", "%2B"))
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseError(f"{name} cannot be read: write {_EXAMPLE}") from None
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise DatabaseError(f"{name} is not a PostgreSQL address: write {_EXAMPLE}")
    if "@" in (url.host or ""):
        raise DatabaseError(f"{name} holds more than one @: write those of user and password as %40")
    if not url.database:
        raise DatabaseError(f"{name} names no database: write {_EXAMPLE}")
    host = unquote(url.host or "")
    if host.startswith("/"):
        url = url.set(host=None).update_query_dict({"host": host})
    return url.set(drivername=MARKET_DRIVER)


def embedded_url() -> URL:
    """The market database of the embedded server, which is started if needed; raises DatabaseError."""
    from financehub_dagster.storage.database import embedded

    for name in _LEADING_ELSEWHERE:
        os.environ.pop(name, None)
    server = embedded.ensure_running(get_settings().home)
    return URL.create(
        MARKET_DRIVER,
        username="postgres",
        port=embedded.PORT,
        database=EMBEDDED_DATABASE,
        query={"host": str(server.socket_folder)},
    )


def market_url() -> URL:
    """The address of the market database; starts the embedded server if that is the one to use."""
    configured = get_settings().financehub_database_url
    return embedded_url() if configured is None else parse_url(configured.get_secret_value())


def replica_url() -> URL | None:
    """The address of the replica that reports read, if there is one."""
    configured = get_settings().financehub_read_database_url
    return None if configured is None else parse_url(configured.get_secret_value(), READ_SETTING)


def beside(url: URL) -> URL:
    """The database on the server of the market database at `url` that is Dagster's, unless another one is set."""
    return url.set(database=f"{url.database}{DAGSTER_SUFFIX}")


def dagster_database(market: URL | None = None) -> URL:
    """The database of Dagster's own storage: the one that is set, or that beside `market` (None: the one in use)."""
    configured = get_settings().financehub_dagster_database_url
    if configured is not None:
        return parse_url(configured.get_secret_value(), DAGSTER_SETTING)
    return beside(market_url() if market is None else market)


def setting_of(url: URL) -> str:
    """The setting that leads to the database at `url`: what to correct when it cannot be used."""
    place = (url.host, url.port, url.query.get("host"), url.database)
    settings = get_settings()
    for name in (DAGSTER_SETTING, READ_SETTING):
        configured = getattr(settings, name.lower())
        if configured is not None:
            other = parse_url(configured.get_secret_value(), name)
            if (other.host, other.port, other.query.get("host"), other.database) == place:
                return name
    return MARKET_SETTING


def dagster_url() -> str:
    """The address of Dagster's own storage, password included, with the driver that dagster-postgres needs."""
    return written(dagster_database().set(drivername=DAGSTER_DRIVER))


def written(url: URL) -> str:
    """`url` with its password as text that `parse_url` reads back as it was.

    SQLAlchemy writes a space in an option, such as the folder of a socket, as a plus and a plus as %2B.
    """
    address, mark, options = url.render_as_string(hide_password=False).partition("?")
    return address + mark + options.replace("+", "%20")


def libpq_url(url: URL, *, with_secrets: bool = False) -> str:
    """`url` as psql and every other libpq program reads it, where a plus does not stand for a space.

    Without secrets by default: others on this machine can read a command line.
    """
    options = dict(url.get_dialect()().create_connect_args(url)[1])
    if not with_secrets:
        options = {name: value for name, value in options.items() if name not in SECRET_OPTIONS}
    login = ":".join(_encoded(options.pop(name)) for name in ("user", "password") if name in options)
    database = _encoded(options.pop("dbname", ""))
    server = ""
    host = str(options.get("host", ""))
    if host and "," not in host and not host.startswith(("/", "@")):
        server = f"[{host}]" if ":" in host else host
        del options["host"]
        server += f":{options.pop('port')}" if "port" in options else ""
    query = "&".join(f"{name}={_encoded(value, safe='/:,')}" for name, value in sorted(options.items()))
    return f"postgresql://{login}{'@' if login else ''}{server}/{database}{'?' if query else ''}{query}"


def secrets_of(url: URL) -> dict[str, str]:
    """The secret options of `url` by name."""
    options = url.get_dialect()().create_connect_args(url)[1]
    return {name: str(options[name]) for name in SECRET_OPTIONS if options.get(name)}


def _encoded(value: object, safe: str = "") -> str:
    return quote(str(value), safe=safe, errors="surrogateescape")
