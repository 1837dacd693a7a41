"""Making a backup: each database as it was at one moment, while others write.

Belongs here: snapshots, pg_dump, and counting what is dumped. Does not belong here: the file (`file`).

The market data is dumped first. Of a run that commits between the two dumps, Dagster's events are in the backup and its
rows are not; the ledger, which is in the same dump as the rows, lists them as missing, and they are fetched again.
"""

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from financehub_dagster.storage.backup import contents
from financehub_dagster.storage.backup.file import CHUNK, PARTS, BackupError, Description, writing
from financehub_dagster.storage.backup.programs import Programs, environment, failure, programs_for
from financehub_dagster.storage.backup.script import quote
from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.engine import Connection, make_engine
from financehub_dagster.storage.database.session_settings import LOCK_SECONDS
from financehub_dagster.storage.database.upgrade.requirements import require_direct
from financehub_dagster.storage.database.urls import dagster_database, libpq_url
from financehub_dagster.version import VERSION

type Report = Callable[[str, int, int], None]

LEFT_EMPTY = "daemons"
"""Its claim is on the database that is backed up, and would keep a platform from starting on the restored one."""


@dataclass(frozen=True)
class HomeFacts:
    """What a home knows that its databases do not: its mode (live, sandbox), and its first day (ISO 8601) or None."""

    mode: str
    first_day: str | None


def create(market: URL, path: Path, home: HomeFacts, report: Report) -> Description:
    """Write a backup of the market database at `market`, and of Dagster's own storage, to `path`.

    Reports (part, done, total) by tables. Raises BackupError, OSError and DatabaseError; `path` appears only whole.
    """
    urls = dict(zip(PARTS, (market, dagster_database(market)), strict=True))
    for url in urls.values():
        require_direct(url, "a backup")
    revision = migrations.current(market)
    if revision is None:
        raise BackupError("the market database holds no tables yet: there is nothing to back up")
    schemas: dict[str, str] = {}
    rows: dict[str, dict[str, int]] = {}
    server, dumped_by = 0, 0
    with writing(path) as writer:
        for part, url in urls.items():
            engine = make_engine(url, poolclass=NullPool, isolation_level="REPEATABLE READ")
            with engine.begin() as connection:
                snapshot = _snapshot(connection)
                schemas[part] = contents.schema_of(connection)
                server = max(server, contents.major_version(connection))
                programs = programs_for(url, contents.major_version(connection))
                dumped_by = max(dumped_by, programs.major)
                names = contents.tables(connection)
                rows[part] = {}
                for done, name in enumerate(names):
                    report(part, done, len(names))
                    rows[part] |= {name: 0} if name == LEFT_EMPTY else contents.rows(connection, [name])
                with writer.part(part) as target:
                    _dump(programs, url, schemas[part], snapshot, target)
                report(part, len(names), len(names))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        description = Description(
            VERSION, revision, server, dumped_by, created, home.mode, home.first_day, schemas, rows
        )
        writer.finish(description)
    return description


def _snapshot(connection: Connection) -> str:
    """Export what this transaction sees; it lasts as long as the transaction, however long a dump takes."""
    connection.execute(sa.text("set local idle_in_transaction_session_timeout = 0"))
    return str(connection.execute(sa.text("select pg_export_snapshot()")).scalar_one())


def _dump(programs: Programs, url: URL, schema: str, snapshot: str, target: IO[bytes]) -> None:
    """Dump one schema, without owners and rights: those belong to a server's roles."""
    command = programs.command(
        "pg_dump",
        "--format=custom",
        f"--schema={quote(schema)}",
        f"--exclude-table-data={quote(schema)}.{LEFT_EMPTY}",
        f"--snapshot={snapshot}",
        "--no-owner",
        "--no-privileges",
        "--no-tablespaces",
        "--no-password",
        f"--lock-wait-timeout={LOCK_SECONDS}s",
        f"--dbname={libpq_url(url)}",
    )
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages, env=environment(url)
        )
        try:
            assert process.stdout is not None
            while chunk := process.stdout.read(CHUNK):
                target.write(chunk)
        finally:
            process.stdout.close()  # type: ignore[union-attr]
            code = process.wait()
        if code != 0:
            messages.seek(0)
            raise failure(url, "pg_dump", messages.read().decode(errors="replace"))
