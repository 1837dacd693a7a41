"""Selections over the database and the archive together.

Belongs here: putting the two together for readers, and their errors in readers' terms. Does not belong here: SQL
(`storage.queries.arrow`), the archive's files (`storage.archive`).
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import batched

import pyarrow as pa

from financehub_dagster.serving.errors import ReadError
from financehub_dagster.storage.archive import reading
from financehub_dagster.storage.archive.errors import ArchiveError
from financehub_dagster.storage.queries import arrow

SYMBOLS_AT_ONCE = 5
"""Symbols of which all archived months are read at once: three years of minutes are 1.5 million rows."""


def read(reader: arrow.Reader, selection: arrow.Selection) -> pa.Table:
    """All selected rows, archived ones among them, in the order of the key; raises ReadError."""
    rows = reader.table(selection)
    try:
        return reading.with_archived(reader, selection, rows)
    except ArchiveError as error:
        raise ReadError(str(error)) from None


def parts(reader: arrow.Reader, selection: arrow.Selection) -> Iterator[pa.Table]:
    """No rows, which have the columns, then those of a few of the selection's symbols at a time; raises ReadError."""
    yield reader.table(replace(selection, symbols=[]))
    for some in batched(selection.symbols or (), SYMBOLS_AT_ONCE):
        yield read(reader, replace(selection, symbols=list(some)))
