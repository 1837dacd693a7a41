"""The files of the archive: one Parquet file for each table and month, sorted by key, readable by its path alone.

Belongs here: where files are, their format, writing them so that nobody sees half of one, and reading them against a
checksum that does not depend on how rows are cut into batches or encoded. Does not belong here: SQL (`partitions`), and
when a month is moved (`moving`). Imports pyarrow: import it inside functions.

Timestamps are delta-encoded; prices and volumes are dictionary-encoded as far as their values repeat within a row
group, which recorded bars do. BYTE_STREAM_SPLIT takes a third more.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.archive.errors import ArchiveError, BadArchive

GROUP_ROWS = 131_072
"""Rows of a row group: readers skip whole groups by symbol and time."""
LEVEL = 6
"""Of zstd: beyond it files get smaller by less than a hundredth."""
NOTE = b"financehub"
"""Key of what we note in a file: table, month, checksum and when it was written."""
_NAME = re.compile(r"(\d{4})-(\d{2})\.parquet")


@dataclass(frozen=True)
class ArchivedMonth:
    """One file: the month, its rows and bytes, when it was written, and the checksum of its rows."""

    table: str
    month: date
    path: Path
    rows: int
    bytes: int
    written_at: datetime
    checksum: str


def path_of(table: str, month: date) -> Path:
    """Where the month of a table is, or will be."""
    return get_settings().home / "archive" / table / f"{month:%Y-%m}.parquet"


def months(table: str) -> dict[date, Path]:
    """The archived months of a table by their first days, in order; unreadable files included."""
    folder = path_of(table, date(2000, 1, 1)).parent
    found = {}
    for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else ():
        named = _NAME.fullmatch(path.name)
        if named:
            found[date(int(named[1]), int(named[2]), 1)] = path
    return found


def describe(table: str, month: date) -> ArchivedMonth:
    """What a file says of itself, without reading its rows; raises BadArchive."""
    path = path_of(table, month)
    with _readable(path), parquet.ParquetFile(path) as file:
        note = json.loads((file.metadata.metadata or {}).get(NOTE, b"{}"))
        if (note.get("table"), note.get("month")) != (table, f"{month:%Y-%m}"):
            raise BadArchive(f"{path}: not the archive of {table} {month:%Y-%m}; move it away")
        written = datetime.fromisoformat(note["written_at"])
        return ArchivedMonth(table, month, path, file.metadata.num_rows, path.stat().st_size, written, note["checksum"])


def read_verified(archived: ArchivedMonth) -> Iterator[pa.Table]:
    """All rows of a file in parts; raises BadArchive at their end if they are not those that were written."""
    checksum: Checksum | None = None
    with _readable(archived.path), parquet.ParquetFile(archived.path) as file:
        for batch in file.iter_batches(GROUP_ROWS):
            part = pa.Table.from_batches([batch])
            checksum = checksum or Checksum(part.column_names)
            checksum.add(part)
            yield part
    if archived.rows and (checksum is None or checksum.hexdigest() != archived.checksum):
        raise BadArchive(f"{archived.path}: damaged, its rows do not match their checksum; restore it from a backup")


def read_selected(path: Path, schema: pa.Schema, condition: pc.Expression | None = None) -> pa.Table:
    """The rows that meet `condition` as columns of `schema`, in the file's order; raises BadArchive.

    Columns that the table has got since the file was written are NULL.
    """
    with _readable(path), parquet.ParquetFile(path) as file:
        known = [name for name in schema.names if name in file.schema_arrow.names]
        rows = parquet.read_table(path, columns=known, filters=condition, partitioning=None)
        columns = [
            rows[field.name].cast(field.type) if field.name in known else pa.nulls(rows.num_rows, field.type)
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise BadArchive(f"{path}: cannot be read ({reason[:200]}); restore it from a backup or move it away") from None


class MonthWriter:
    """Writes the rows of a month to a hidden file, which takes its place once it was read back without a difference."""

    def __init__(self, table: str, month: date, schema: pa.Schema) -> None:
        self._table, self._month = table, month
        self._path = path_of(table, month)
        self._temporary = self._path.with_name(f".{self._path.name}.new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        sync(self._path.parent.parent)
        times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
        self._file = parquet.ParquetWriter(
            self._temporary,
            schema,
            compression="zstd",
            compression_level=LEVEL,
            use_dictionary=[field.name for field in schema if field.name not in times],
            column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
            write_page_index=True,
        )
        self._waiting: list[pa.Table] = []
        self._checksum = Checksum(schema.names)

    @property
    def rows(self) -> int:
        """How many rows were added so far."""
        return self._checksum.rows

    def add(self, rows: pa.Table) -> None:
        """Take the next rows in the order of the key."""
        self._checksum.add(rows)
        self._waiting.append(rows)
        if sum(each.num_rows for each in self._waiting) >= GROUP_ROWS:
            whole = pa.concat_tables(self._waiting)
            full = whole.num_rows // GROUP_ROWS * GROUP_ROWS
            self._file.write_table(whole.slice(0, full), row_group_size=GROUP_ROWS)
            self._waiting = [whole.slice(full)]

    def finish(self) -> ArchivedMonth:
        """Complete the file, flush it to disk, read it back and give it its name."""
        if self._waiting:
            self._file.write_table(pa.concat_tables(self._waiting), row_group_size=GROUP_ROWS)
        written, checksum = datetime.now(UTC), self._checksum.hexdigest()
        note = {
            "table": self._table,
            "month": f"{self._month:%Y-%m}",
            "checksum": checksum,
            "written_at": written.isoformat(),
        }
        self._file.add_key_value_metadata({NOTE.decode(): json.dumps(note)})
        self._file.close()
        sync(self._temporary)
        size = self._temporary.stat().st_size
        done = ArchivedMonth(self._table, self._month, self._temporary, self.rows, size, written, checksum)
        counted = sum(part.num_rows for part in read_verified(done))
        if counted != self.rows:
            raise BadArchive(
                f"{self._temporary}: rows read back: {counted:,} instead of {self.rows:,}; nothing was dropped"
            )
        self._temporary.replace(self._path)
        sync(self._path.parent)
        return ArchivedMonth(self._table, self._month, self._path, self.rows, size, written, checksum)

    def discard(self) -> None:
        """Give the file up."""
        with suppress(OSError, pa.ArrowException):  # the disk that is full is why the file is given up
            self._file.close()
        self._temporary.unlink(missing_ok=True)


@contextmanager
def writing(table: str, month: date, schema: pa.Schema) -> Iterator[MonthWriter]:
    """A writer of a month's file that leaves nothing behind when it is not finished; raises ArchiveError."""
    path, writer = path_of(table, month), None
    try:
        writer = MonthWriter(table, month, schema)
        yield writer
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise ArchiveError(
            f"{path} cannot be written: {reason}; nothing was dropped: make room or set FINANCEHUB_ARCHIVE=off"
        ) from None
    finally:
        if writer is not None:
            writer.discard()


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or which files a folder has; raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Checksum:
    """BLAKE2b over every column of rows that are added in order: lengths, values, and where NULLs are."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = {name: _Column() for name in columns}
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Count the next rows in."""
        self.rows += rows.num_rows
        for name, column in self._columns.items():
            for chunk in rows[name].chunks:
                column.add(chunk)

    def hexdigest(self) -> str:
        """The checksum of all rows so far."""
        whole = _hash()
        for name, column in self._columns.items():
            whole.update(name.encode() + b"\0" + column.digest())
        text: str = whole.hexdigest()
        return text


class _Column:
    """The values of one column, or of the lists in one."""

    def __init__(self) -> None:
        self._nulls, self._lengths, self._values = _hash(), _hash(), _hash()
        self._elements: _Column | None = None

    def add(self, array: Any) -> None:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        self._nulls.update(array.is_valid().to_numpy(zero_copy_only=False).tobytes())
        array = array.drop_null()
        if not len(array):
            return
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            array = array.cast(pa.large_string())
            _, ends, texts = array.buffers()
            bounds = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
            self._lengths.update(np.diff(bounds).tobytes())
            self._values.update(memoryview(texts or b"")[bounds[0] : bounds[-1]])
        elif pa.types.is_list(array.type):
            self._lengths.update(pc.list_value_length(array).to_numpy().astype(np.int64).tobytes())
            self._elements = self._elements or _Column()
            self._elements.add(array.flatten())
        else:
            self._values.update(np.ascontiguousarray(array.to_numpy(zero_copy_only=False)).tobytes())

    def digest(self) -> bytes:
        own: bytes = self._nulls.digest() + self._lengths.digest() + self._values.digest()
        return own + (b"" if self._elements is None else self._elements.digest())


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)
