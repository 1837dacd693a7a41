"""Moving a month between its partition and its file: archived, discarded or restored, wholly or not at all.

Belongs here: the order of locks, file and transaction. Does not belong here: which months are old (operations.archive),
the file's format (`files`). Imports pyarrow: import it inside functions.

While a month is archived, its partition is locked against writers, so that the rows in the file are those that are
dropped; readers and writers of other months go on. The table as a whole is locked for the drop alone. The file gets its
name before the drop is committed: whoever is killed between the two leaves the month in both places, where readers take
each row once, and the next run writes the file again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import batched

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from financehub_dagster.storage.archive import files, partitions, renaming, revisions
from financehub_dagster.storage.archive.errors import ArchiveError, MonthBusy
from financehub_dagster.storage.archive.files import ArchivedMonth
from financehub_dagster.storage.archive.revisions import copy_rows
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.errors import LockTimeout, StatementFailed
from financehub_dagster.storage.database.month_partitions import ensure_months, partition_name
from financehub_dagster.storage.database.sql_text import quoted
from financehub_dagster.storage.queries import arrow
from financehub_dagster.tables import TABLES

SYMBOLS_AT_ONCE = 25
"""Symbols that are read together: a month of minutes of 25 cryptos is 1.1 million rows, 100 MB."""
_DEADLOCK = "40P01"
"""SQLSTATE (PostgreSQL documentation, appendix A)."""


@dataclass(frozen=True)
class Kept:
    """A month that stays, and what refers to it."""

    reasons: list[str]


def archive_month(table: str, month: date) -> ArchivedMonth | Kept:
    """Write a month to its file and drop its partition; raises ArchiveError, and changes nothing then.

    Rows that were written after the month had been archived are added to its file, in the place of rows of their key,
    which go to price_revisions.
    """
    declared = schema.table(table)
    with _unless_busy(table, month), transaction() as connection:
        partitions.hold_writers(connection, declared, month)
        reasons = partitions.reasons_to_keep(connection, table, month)
        if reasons:
            return Kept(reasons)
        counts = partitions.rows_by_symbol(connection, declared, month)
        written = _write(declared, month, counts, _earlier(connection, table, month))
        partitions.drop(connection, declared, month)
        return written


def discard_month(table: str, month: date) -> int | Kept:
    """Drop a month without archiving it; returns its rows. Raises ArchiveError, and changes nothing then."""
    declared = schema.table(table)
    with _unless_busy(table, month), transaction() as connection:
        partitions.hold_writers(connection, declared, month)
        reasons = partitions.reasons_to_keep(connection, table, month)
        if reasons:
            return Kept(reasons)
        rows = sum(partitions.rows_by_symbol(connection, declared, month).values())
        partitions.end_expectation(connection, table, month)
        partitions.drop(connection, declared, month)
        return rows


def restore_month(table: str, month: date) -> ArchivedMonth:
    """Bring a month back from its file, which stays; rows that were written meanwhile take the place of archived ones.

    Those go to price_revisions.
    Raises ArchiveError: BadArchive if the file is damaged, and changes nothing then.
    """
    if month not in files.months(table):
        raise ArchiveError(f"{table} {month:%Y-%m} is not archived: `financehub archive list` shows what is")
    archived, declared = files.describe(table, month), schema.table(table)
    with transaction() as connection:
        # Also what `ensure_months` takes: nobody else makes the partition meanwhile.
        connection.exec_driver_sql(f"LOCK TABLE {quoted(table)} IN SHARE UPDATE EXCLUSIVE MODE")
        held = {each.first_day: each for each in partitions.months(connection, table)}.get(month)
        if held is not None and held.restored_at is not None:
            raise ArchiveError(f"{table} {month:%Y-%m} is in the database already: it was restored before")
        if held is None:
            ensure_months(connection, table, [month])
            _load(connection, declared, partition_name(table, month), archived)
        else:
            _load_beside(connection, declared, archived)
        partitions.mark_restored(connection, declared, month)
    return archived


def _earlier(connection: Connection, table: str, month: date) -> ArchivedMonth | None:
    """The file that holds rows of the month which the partition lacks."""
    if month not in files.months(table):
        return None
    restored = {each.first_day for each in partitions.months(connection, table) if each.restored_at is not None}
    return None if month in restored else files.describe(table, month)


def _write(table: sa.Table, month: date, counts: Mapping[str, int], earlier: ArchivedMonth | None) -> ArchivedMonth:
    symbols = sorted(counts.keys() | _symbols(earlier))
    columns = table.c.keys()
    stored = table.to_metadata(sa.MetaData(), name=partition_name(table.name, month))
    with arrow.reading(primary=True) as reader:
        plan = reader.table(arrow.Selection(stored, columns, [])).schema
        with files.writing(table.name, month, plan) as writer:
            for some in batched(symbols, SYMBOLS_AT_ONCE):
                rows = reader.table(arrow.Selection(stored, columns, list(some)))
                wanted = sum(counts.get(symbol, 0) for symbol in some)
                if rows.num_rows != wanted:
                    raise ArchiveError(
                        f"{table.name} {month:%Y-%m}: rows read: {rows.num_rows:,} instead of {wanted:,}; "
                        "nothing was dropped: try again"
                    )
                if earlier is not None:
                    archived = files.read_selected(earlier.path, plan, pc.field("symbol").isin(list(some)))
                    revisions.keep_replaced(table, stored.name, rows, archived)
                    rows = merged(table, rows, archived)
                writer.add(_by_key(table, rows))
            return writer.finish()


def _symbols(earlier: ArchivedMonth | None) -> set[str]:
    if earlier is None:
        return set()
    only = pa.schema([("symbol", pa.string())])
    return set(files.read_selected(earlier.path, only)["symbol"].unique().to_pylist())


def merged(table: sa.Table, rows: pa.Table, archived: pa.Table) -> pa.Table:
    """All rows of both in the order of the key, those of `rows` in the place of archived ones of the same key."""
    if not archived.num_rows:
        return rows
    key = table.primary_key.columns.keys()
    origin = np.repeat(np.array([0, 1], np.int8), [rows.num_rows, archived.num_rows])
    both = pa.concat_tables([rows, archived]).append_column("_origin", pa.array(origin))
    both = both.sort_by([(name, "ascending") for name in [*key, "_origin"]]).drop_columns("_origin")
    same = np.ones(max(both.num_rows - 1, 0), bool)
    for name in key:
        column = both[name].combine_chunks()
        same &= pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return both.filter(pa.array(np.append(True, ~same)))


def _by_key(table: sa.Table, rows: pa.Table) -> pa.Table:
    """`rows` in the order of their key by code points: a database may have another order of texts."""
    symbols = rows["symbol"].combine_chunks().dictionary_encode()
    names = symbols.dictionary.to_pylist()
    if names == sorted(names):
        return rows
    return rows.sort_by([(name, "ascending") for name in table.primary_key.columns.keys()])  # noqa: SIM118


def _load(connection: Connection, table: sa.Table, name: str, archived: ArchivedMonth) -> None:
    """Copy the rows of a file into the table of that name, which has the columns of `table`."""
    with arrow.reading() as reader:
        given_up = reader.given_up()
    for rows in files.read_verified(archived):
        copy_rows(connection, table, name, renaming.under_present_symbols(table, rows, given_up))


def _load_beside(connection: Connection, table: sa.Table, archived: ArchivedMonth) -> None:
    """Add the rows of a file to a partition that holds some of its month."""
    name, own = quoted(table.name), f"restored_{table.name}"
    revisions.make_temporary(connection, table, own)
    _load(connection, table, own, archived)
    if TABLES[table.name].keep_revisions:
        revisions.keep(connection, table, own, partition_name(table.name, archived.month))
    columns = ", ".join(quoted(column.name) for column in table.c)
    connection.exec_driver_sql(
        f"INSERT INTO {name} ({columns}) SELECT {columns} FROM {quoted(own)} ON CONFLICT DO NOTHING"
    )


@contextmanager
def _unless_busy(table: str, month: date) -> Iterator[None]:
    try:
        yield
    except (LockTimeout, StatementFailed) as error:
        if isinstance(error, StatementFailed) and error.sqlstate != _DEADLOCK:
            raise
        raise MonthBusy(
            f"{table} {month:%Y-%m} is in use: nothing was dropped, the next clean-up tries again"
        ) from None
