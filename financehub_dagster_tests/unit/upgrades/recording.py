"""Records a database of an earlier version, with rows in every table: `python -m ...unit.upgrades.recording 0017`.

Belongs here: the rows, and dumping and loading a recording. Does not belong here: what an upgrade must keep of them
(`test_upgrades`). Record the newest step at every release, and never again: a migration that was edited since shows
against the recording of what it was.
"""

import gzip
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.embedded.binaries import bin_folder
from financehub_dagster.storage.database.engine import make_engine
from financehub_dagster.storage.database.month_partitions import ensure_months
from financehub_dagster_tests.fixtures.database import DatabaseServer, new_server

FOLDER = Path(__file__).with_name("recorded")
ROWS = 3
FIRST = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
"""Within a month and a week, so that the rows of a table differ in the day alone."""
SYMBOLS = ("AAPL", "BTCUSDT", "^GSPC")

WORDS = {
    "symbol": SYMBOLS,
    "asset_type": ("stock", "crypto", "index"),
    "exchange": ("XNYS", "24/7", "XNYS"),
    "timezone": ("America/New_York", "UTC", "America/New_York"),
    "currency": ("USD",) * ROWS,
    "source": ("yahoo", "binance", "yahoo"),
    "provider": ("yahoo", "binance", "finnhub"),
    "table_name": ("stock_prices_daily", "crypto_prices_daily", "indicators_daily"),
    "url": tuple(f"https://news.example.com/{n}" for n in range(ROWS)),
    "task_failures.status": ("open", "parked", "resolved"),
    "health_checks.status": ("ok", "degraded", "failed"),
    "corporate_actions.kind": ("dividend", "split", "capital_gain"),
    "sla_breaches.kind": ("freshness", "runtime", "freshness"),
    "direction": ("up", "down", "up"),
    "notifications.state": ("queued", "sent", "failed"),
}
"""Texts that mean something, by column or by table and column; others are the column's name and a number."""
DOCUMENTS = {"former_aliases": {"yahoo": [{"symbol": "OLD", "from": None, "until": "2020-01-31"}]}}
"""Documents that the product reads by their form."""
NUMBERS = {"open": 101.25, "high": 104.5, "low": 99.75, "close": 102.125, "adj_close": 98.0625}
OPEN_DAYS = 8
"""Sessions of a month that are not stored, by the older ledger: two in each of its four arrays."""
LATER = ("stop", "complete_to", "through", "last_date", "ended_at")
"""Columns that are not before another one of their row."""
WEEKS = ("empty", "gap", "dead_lettered", "deferred", "sessions")
"""Columns of ranges of days."""
_DIALECT = postgresql.dialect()
ONE_ROW = ("job_statistics_cursor",)


def tables(connection: Connection) -> list[str]:
    """The tables of a database without partitions and Alembic's own, what refers to another one after it."""
    metadata = sa.MetaData()
    metadata.reflect(connection, resolve_fks=True)
    partitions = set(connection.exec_driver_sql("select relname from pg_class where relispartition").scalars())
    return [each.name for each in metadata.sorted_tables if each.name not in {*partitions, "alembic_version"}]


def rows_of(connection: Connection, table: str) -> list[dict[str, Any]]:
    """The rows of a table as PostgreSQL writes them in JSON, in the order of their text."""
    return list(connection.exec_driver_sql(f"select to_jsonb(t) from {table} t order by t::text").scalars())


def fill(connection: Connection) -> None:
    """Rows in every table of whatever step the database is at."""
    for name in tables(connection):
        metadata = sa.MetaData()
        table = sa.Table(name, metadata, autoload_with=connection)
        if connection.exec_driver_sql(f"select relkind from pg_class where relname = '{name}'").scalar() == "p":
            ensure_months(connection, name, [FIRST.date()])
        written = [each for each in table.columns if each.identity is None]
        count = 1 if name in ONE_ROW else ROWS
        values = [{each.name: _value(name, each, n) for each in written} for n in range(count)]
        connection.execute(table.insert(), values)


def _value(table: str, column: sa.Column[Any], n: int) -> Any:
    """The value of a column in row `n`: fixed, within every rule, and different in each row."""
    name, kind = column.name, str(column.type.compile(dialect=_DIALECT))
    at = FIRST + timedelta(days=n, hours=1 if name in LATER else 0)
    if kind == "TEXT":
        known = WORDS.get(f"{table}.{name}") or WORDS.get(name)
        return known[n] if known else f"{name} {n}: a 'quote', ü and \\"
    values = {
        "DOUBLE PRECISION": NUMBERS.get(name, 3.0 + len(name)) + n / 8,
        "BIGINT": n + 1,
        "INTEGER": n + 1 + (OPEN_DAYS if name == "expected" else 0),
        "BOOLEAN": True,
        "DATE": at.date(),
        "TIMESTAMP WITH TIME ZONE": at,
        "JSONB": DOCUMENTS.get(name, {"n": n, "nested": {"text": f"{name} ü", "number": 0.1}}),
        "TEXT[]": [f"{name} {n}", "second"],
        "DATE[]": [at.date(), at.date() + timedelta(days=1)],
        "BIGINT[]": [n, 2**40],
        "TIMESTAMP WITH TIME ZONE[]": [at, at + timedelta(hours=2)],
        "DATEMULTIRANGE": [_week(WEEKS.index(name))] if name in WEEKS else None,
    }
    return values[kind]


def _week(number: int) -> Range[date]:
    """Days that no other column of ranges has: a session is in one state."""
    first = date(2024, 1, 1) + timedelta(weeks=number)
    return Range(first, first + timedelta(days=5))


def record(server: DatabaseServer, revision: str) -> Path:
    """Write the recording of a database at `revision`."""
    url = server.create()
    migrations.upgrade(url, revision)
    with make_engine(url, poolclass=NullPool).begin() as connection:
        fill(connection)
    options = ["--no-owner", "--no-privileges", "--rows-per-insert=100", "-h", str(url.query["host"])]
    command = [str(bin_folder() / "pg_dump"), *options, "-U", str(url.username), str(url.database)]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    path = FOLDER / f"{revision}.sql.gz"
    path.write_bytes(gzip.compress("\n".join(_statements(dump)).encode(), mtime=0))
    return path


def _statements(dump: str) -> Iterator[str]:
    """The lines that every server from 14 on reads, without psql's own commands."""
    for line in dump.splitlines():
        if line and not line.startswith(("\\", "--", "SET transaction_timeout")):
            yield line


def load(url: URL, revision: str) -> None:
    """Fill the empty database at `url` with a recording."""
    script = gzip.decompress((FOLDER / f"{revision}.sql.gz").read_bytes()).decode()
    with autocommit(url) as connection:
        connection.connection.driver_connection.execute(script)


def recorded() -> list[str]:
    """The steps of which there is a recording, in order."""
    return sorted(each.name.partition(".")[0] for each in FOLDER.glob("*.sql.gz"))


if __name__ == "__main__":
    with new_server("fsync") as here:
        for each in sys.argv[1:]:
            print(record(here, each))
