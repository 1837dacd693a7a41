"""Arrow tables into files of one format, batch by batch.

Belongs here: one writer per format. Does not belong here: where files go and when they count (`export`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "arrow": ".arrow"}
type Target = Path | BinaryIO
GROUP_ROWS = 250_000
"""Rows of a Parquet row group: readers skip whole groups by symbol and day, and memory stays below 50 MB."""


class Writer:
    """Writes tables of one schema to a file; batches are gathered until GROUP_ROWS are there."""

    def __init__(self, write: Callable[[pa.Table], None], close: Callable[[], None]) -> None:
        self._write, self._close = write, close
        self._waiting: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        """Take the next rows."""
        self._waiting.append(table)
        if sum(each.num_rows for each in self._waiting) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what waits, and end the file."""
        self._flush()
        self._close()

    def _flush(self) -> None:
        waiting, self._waiting = pa.concat_tables(self._waiting) if self._waiting else None, []
        if waiting is not None and waiting.num_rows:
            self._write(waiting)


def writer(form: str, into: Target, schema: pa.Schema) -> Writer:
    """A writer of `form` (parquet, csv, arrow) to a new file at a path, or into an open one."""
    return _WRITERS[form](into, schema)


def _parquet(into: Target, schema: pa.Schema) -> Writer:
    from pyarrow import parquet

    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    file = parquet.ParquetWriter(into, schema, compression="zstd", compression_level=1, use_dictionary=texts)
    return Writer(lambda table: file.write_table(table, row_group_size=GROUP_ROWS), file.close)


def _csv(into: Target, schema: pa.Schema) -> Writer:
    from pyarrow import csv

    file = csv.CSVWriter(into, pa.schema([_csv_field(field) for field in schema]))
    return Writer(lambda table: file.write_table(_csv_table(table)), file.close)


def _csv_field(field: pa.Field) -> pa.Field:
    return field.with_type(pa.string()) if pa.types.is_list(field.type) else field


def _csv_table(table: pa.Table) -> pa.Table:
    """Lists as one text, their elements separated by semicolons."""
    from pyarrow import compute

    for number, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            table = table.set_column(number, _csv_field(field), compute.binary_join(table[field.name], ";"))
    return table


def _arrow(into: Target, schema: pa.Schema) -> Writer:
    file = pa.ipc.new_file(into, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
    return Writer(file.write_table, file.close)


_WRITERS: dict[str, Callable[[Target, pa.Schema], Writer]] = {"parquet": _parquet, "csv": _csv, "arrow": _arrow}
