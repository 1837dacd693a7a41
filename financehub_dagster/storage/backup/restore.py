"""Restoring a backup into any server: both databases, or neither.

Belongs here: what may be overwritten, the order of the steps, and the comparison with the backup. Does not belong here:
the file (`file`) and the programs (`script`).

Each database is restored in one transaction, which first drops what --replace lets it drop. The rows of every table are
counted before anything is committed. Both transactions are committed at the end, one right after the other.
"""

import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from financehub_dagster.storage.backup import contents
from financehub_dagster.storage.backup.file import PARTS, BackupError, Description, part_of, reading
from financehub_dagster.storage.backup.programs import programs_for
from financehub_dagster.storage.backup.script import Script, quote, script
from financehub_dagster.storage.database import as_of_functions, migrations, repaired_views, schema
from financehub_dagster.storage.database.creation import autocommit, ensure_database
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.refusals import describe
from financehub_dagster.storage.database.upgrade.requirements import check, require_direct
from financehub_dagster.storage.database.urls import dagster_database
from financehub_dagster.wording import counted

type Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Restored:
    """What a restore did; revision: that of the market database now, at or after the backup's."""

    description: Description
    revision: str


@dataclass(frozen=True)
class _Target:
    """A database to restore into: its server's version, and what is dropped there first (quoted names)."""

    part: str
    url: URL
    version: int
    views: Sequence[str]
    tables: Sequence[str]
    functions: Sequence[str]


def restore(market: URL, path: Path, mode: str, *, replace: bool, report: Report) -> Restored:
    """Restore the backup at `path` into the market database at `market` and Dagster's own storage, and migrate it.

    Databases that are missing are created. One that holds tables is refused unless `replace`; one that holds other
    programs' tables is always refused. mode: live or sandbox, what the home holds. Raises BackupError, DatabaseError
    and OSError; nothing is changed then, unless the message says so.
    """
    with reading(path) as (archive, description):
        _require_readable(path, description, mode)
        targets = [_target(part, url, description, replace=replace) for part, url in _urls(market).items()]
        with ExitStack() as stack:
            scripts = {}
            for target in targets:
                programs = programs_for(target.url, max(description.dumped_by, target.version))
                opened = stack.enter_context(script(programs, target.url, target.version))
                _load(opened, target, archive, path, description, report)
                scripts[target.part] = opened
            _commit(scripts)
    for url in _urls(market).values():
        with autocommit(url) as connection:
            connection.exec_driver_sql("analyze")
    _, revision = migrations.upgrade(market)
    return Restored(description, str(revision))


def _urls(market: URL) -> dict[str, URL]:
    return dict(zip(PARTS, (market, dagster_database(market)), strict=True))


def _require_readable(path: Path, description: Description, mode: str) -> None:
    if not migrations.is_known(description.revision):
        raise BackupError(
            f"{path} was made by financehub {description.program} at revision {description.revision}, which this "
            "program does not know: upgrade the program, then restore"
        )
    if description.mode != mode:
        raise BackupError(
            f"{path} holds {description.mode} data and this home is for {mode} data, which must not mix: choose "
            "a new --home, which takes the mode of the backup"
        )


def _target(part: str, url: URL, description: Description, *, replace: bool) -> _Target:
    ensure_database(url)
    require_direct(url, "a restore")
    with autocommit(url) as connection:
        check(connection, url)
        target_schema, source_schema = contents.schema_of(connection), description.schemas[part]
        if target_schema != source_schema:
            name = quote(source_schema)
            raise BackupError(
                f"{describe(url)} keeps tables in schema {target_schema} and the backup's are in {source_schema}: run "
                f"`create schema if not exists {name}` there, and `alter role ... set search_path = {name}`"
            )
        version, tables = contents.major_version(connection), contents.tables(connection)
        if not tables:
            return _Target(part, url, version, (), (), ())
        if not replace:
            there = counted(len(tables), "table")
            raise BackupError(f"{describe(url)} holds {there}: --replace drops what is there")
        foreign = sorted(set(tables) - set(description.rows[part]) - _known_tables(part))
        if foreign:
            raise BackupError(
                f"{describe(url)} holds tables of another program ({', '.join(foreign[:3])}): restore into a database "
                "of its own"
            )
        others = contents.other_programs(connection)
        if others:
            raise BackupError(f"{describe(url)} is in use by {', '.join(others)}: end that first (`financehub down`)")
        views, functions = repaired_views.there(connection, schema.metadata), as_of_functions.there(connection)
    own_views, own_tables = ([f"{quote(target_schema)}.{quote(name)}" for name in names] for names in (views, tables))
    return _Target(part, url, version, own_views, own_tables, functions)


def _known_tables(part: str) -> set[str]:
    """The tables that this program makes in a database."""
    if part == "market":
        return {*schema.metadata.tables, "alembic_version"}
    from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
    from dagster._core.storage.runs.schema import RunStorageSqlMetadata
    from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata

    of_dagster = (SqlEventLogStorageMetadata, RunStorageSqlMetadata, ScheduleStorageSqlMetadata)
    return {"alembic_version", *(name for metadata in of_dagster for name in metadata.tables)}


def _load(
    opened: Script, target: _Target, archive: zipfile.ZipFile, path: Path, description: Description, report: Report
) -> None:
    """Run a part's dump, and compare its rows with the backup's."""
    opened.drop(target.views, target.tables, target.functions)
    size = archive.getinfo(f"{target.part}.dump").file_size
    with part_of(path, archive, target.part) as dump:
        opened.load(dump, description.schemas[target.part], lambda done: report(target.part, done, size))
    expected = description.rows[target.part]
    found = opened.rows(description.schemas[target.part], expected)
    wrong = [f"{name} {found[name]:,} of {expected[name]:,}" for name in expected if found[name] != expected[name]]
    if wrong:
        raise BackupError(
            f"{path} does not restore all rows ({', '.join(wrong[:3])}), nothing was changed: take another"
        )


def _commit(scripts: dict[str, Script]) -> None:
    committed: list[str] = []
    try:
        for part, opened in scripts.items():
            opened.commit()
            committed.append(part)
    except DatabaseError as error:
        if not committed:
            raise
        raise BackupError(
            f"the market data was restored and Dagster's storage was not ({error}): restore again with --replace"
        ) from None
