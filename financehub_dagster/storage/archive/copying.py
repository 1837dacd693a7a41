"""Rows of Arrow copied into a table of the database.

Belongs here: that one step. Does not belong here: files, partitions. Imports pyarrow: import it inside functions.
"""

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from financehub_dagster.storage.archive import partitions
from financehub_dagster.storage.database.engine import Connection, raw_cursor
from financehub_dagster.storage.upsert.batch import make_batch
from financehub_dagster.storage.upsert.binary_copy import encode


def copy_rows(connection: Connection, table: sa.Table, name: str, rows: pa.Table) -> None:
    """Copy `rows` into the table of that name, which has the columns of `table`."""
    batch = make_batch(table, {column: _array(rows[column]) for column in rows.column_names})
    statement = f"COPY {partitions.quoted(name)} FROM STDIN (FORMAT binary)"
    with raw_cursor(connection) as cursor, cursor.copy(statement) as target:
        for piece in encode(batch.fields, batch.rows):
            target.write(piece)


def _array(column: pa.ChunkedArray) -> NDArray[np.generic]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"))
    return np.asarray(column.to_numpy())
