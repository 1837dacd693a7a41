"""The file of a backup: a zip archive of two dumps and a description of them, which is written last.

Belongs here: the file's layout, and what makes it whole. Does not belong here: making or reading a dump (`create`,
`restore`). The dumps are in PostgreSQL's custom format and compressed already, so the archive stores them as they are;
the archive's checksums find a damaged file. A file without its description was never finished, and is refused.
"""

import fcntl
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from financehub_dagster.storage.database.errors import DatabaseError

DESCRIPTION = "backup.json"
FORMAT = 1
"""Version of the file's layout; a reader refuses later ones."""
PARTS = ("market", "dagster")
"""The dumps in the order in which they are made: `PART.dump`."""
CHUNK = 1 << 20
"""Bytes copied at a time."""


class BackupError(DatabaseError):
    """A backup cannot be made, read or restored; the message is one line with the remedy, and nothing was changed."""


@dataclass(frozen=True)
class Description:
    """What a backup is of.

    program: the version of financehub-dagster; revision: the market schema's; server, dumped_by: major versions of
    PostgreSQL's server and of pg_dump; created: ISO 8601, UTC; mode: live or sandbox, first_day: ISO 8601 or None, both
    the home's; schemas: by part, the schema that holds its tables; rows: by part, of each table in the very state that
    was dumped.
    """

    program: str
    revision: str
    server: int
    dumped_by: int
    created: str
    mode: str
    first_day: str | None
    schemas: Mapping[str, str]
    rows: Mapping[str, Mapping[str, int]]
    format: int = FORMAT

    @property
    def total_rows(self) -> int:
        """Rows of all tables of both databases."""
        return sum(sum(tables.values()) for tables in self.rows.values())


class Writer:
    """A backup that is being written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def part(self, name: str) -> IO[bytes]:
        """Where the dump of a part goes; one at a time."""
        return self._archive.open(f"{name}.dump", "w", force_zip64=True)

    def finish(self, description: Description) -> None:
        """Describe what was written: without it the file is no backup."""
        self._archive.writestr(DESCRIPTION, json.dumps(asdict(description), indent=1) + "\n")


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Write a backup that appears at `path` once it is complete and on disk; only its owner may read it.

    Raises BackupError where a file is there already, or another backup is being written there; OSError.
    """
    if path.exists():
        raise BackupError(f"{path} exists: name another --output, or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "w+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup is being written to {path}: wait for it, or name another") from None
        try:
            file.truncate()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                yield Writer(archive)
            file.flush()
            os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def reading(path: Path) -> Iterator[tuple[zipfile.ZipFile, Description]]:
    """The archive at `path` and its description; raises BackupError where it is none, or of a later layout; OSError."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise BackupError(f"{path} is no complete backup: take another copy of it, or another backup") from None
    with archive:
        yield archive, _description(path, archive)


def _description(path: Path, archive: zipfile.ZipFile) -> Description:
    try:
        found = json.loads(archive.read(DESCRIPTION))
        if found["format"] > FORMAT:
            raise BackupError(f"{path} was written by financehub {found['program']}, whose backups differ: upgrade")
        return Description(**found)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile):
        raise BackupError(f"{path} is no backup of financehub, or it is damaged: take another one") from None


def verify(path: Path) -> Description:
    """Read the whole backup at `path` against its checksums; raises BackupError where it is damaged."""
    with reading(path) as (archive, description):
        for part in PARTS:
            with part_of(path, archive, part) as dump:
                while dump.read(CHUNK):
                    pass
        return description


class DumpPart:
    """A dump that is read; a checksum that does not match, or an end that comes too early, is a BackupError."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream = path, stream

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end."""
        try:
            return self._stream.read(size)
        except (zipfile.BadZipFile, EOFError):
            raise BackupError(f"{self._path} is damaged: take another copy of it, or another backup") from None


@contextmanager
def part_of(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[DumpPart]:
    """The dump of a part."""
    try:
        stream = archive.open(f"{name}.dump")
    except (KeyError, zipfile.BadZipFile):
        raise BackupError(f"{path} is damaged: take another copy of it, or another backup") from None
    with stream:
        yield DumpPart(path, stream)
