"""Archived rows that other rows took the place of, kept in `price_revisions` like every replaced row.

Belongs here: finding and keeping them, when a file meets rows that were written after it, and copying a file's rows
into a table. Does not belong here: joining
the two (`moving`), and rows that are replaced within the database (upsert). Imports pyarrow: import it in functions.

They are kept in a transaction of their own, before the file that holds them is replaced: whoever is killed between the
two keeps them again, and that adds nothing.
"""

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from financehub_dagster.storage.database.engine import Connection, raw_cursor, transaction
from financehub_dagster.storage.database.sql_text import quoted
from financehub_dagster.storage.queries.days import require_time
from financehub_dagster.storage.upsert.batch import make_batch
from financehub_dagster.storage.upsert.binary_copy import encode
from financehub_dagster.tables import TABLES

_KEEP = """
    insert into price_revisions (table_name, symbol, date, old, replaced_at)
    select :table, symbol, day, old, replaced_at from (
        select old.symbol, (old.{time} at time zone 'utc')::date as day,
            to_jsonb(old) - 'symbol' as old, greatest(now(), new.fetched_at) as replaced_at
        from {archived} as old join {stored} as new using ({key})
        where ({old_values}) is distinct from ({new_values})
    ) as replaced where not exists (
        select from price_revisions as r where r.table_name = :table and r.symbol = replaced.symbol
        and r.date = replaced.day and r.old = replaced.old
    )
    """


def keep_replaced(table: sa.Table, stored: str, rows: pa.Table, archived: pa.Table) -> None:
    """Keep those of `archived` that rows of the same key replace; `rows` are those of the partition `stored`."""
    if not TABLES[table.name].keep_revisions:
        return
    key = table.primary_key.columns.keys()
    replaced = archived.join(rows.select(key), keys=key, join_type="inner")
    if not replaced.num_rows:
        return
    own = f"archived_{table.name}"
    with transaction() as connection:
        make_temporary(connection, table, own)
        copy_rows(connection, table, own, replaced.select(archived.column_names))
        keep(connection, table, own, stored)


def make_temporary(connection: Connection, table: sa.Table, name: str) -> None:
    """Make a table like `table`, for this transaction."""
    own, like = quoted(name), quoted(table.name)
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {own} (LIKE {like} INCLUDING DEFAULTS) ON COMMIT DROP")


def keep(connection: Connection, table: sa.Table, archived: str, stored: str) -> None:
    """Keep the rows of the table `archived` that differ from those of their key in `stored`, in more than stamps."""
    key = table.primary_key.columns.keys()
    values = [column.name for column in table.c if column.name not in key and not column.info.get("stamp")]
    old, new = (", ".join(f"{side}.{quoted(name)}" for name in values) for side in ("old", "new"))
    statement = _KEEP.format(
        time=quoted(require_time(table).name),
        archived=quoted(archived),
        stored=quoted(stored),
        key=", ".join(quoted(name) for name in key),
        old_values=old,
        new_values=new,
    )
    connection.execute(sa.text(statement), {"table": table.name})


def copy_rows(connection: Connection, table: sa.Table, name: str, rows: pa.Table) -> None:
    """Copy `rows` into the table of that name, which has the columns of `table`."""
    batch = make_batch(table, {column: _array(rows[column]) for column in rows.column_names})
    statement = f"COPY {quoted(name)} FROM STDIN (FORMAT binary)"
    with raw_cursor(connection) as cursor, cursor.copy(statement) as target:
        for piece in encode(batch.fields, batch.rows):
            target.write(piece)


def _array(column: pa.ChunkedArray) -> NDArray[np.generic]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"))
    return np.asarray(column.to_numpy())
