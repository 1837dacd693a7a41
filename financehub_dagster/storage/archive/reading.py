"""Archived rows beside stored ones: what a reader of the whole table gets.

Belongs here: which files a selection concerns, and their rows in its terms. Does not belong here: SELECTs
(`queries.arrow`). Imports pyarrow: import it inside functions.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from financehub_dagster.storage.archive import files, moving, partitions, renaming
from financehub_dagster.storage.archive.errors import ArchiveError
from financehub_dagster.storage.database.month_partitions import is_partitioned, month_bounds, partition_name
from financehub_dagster.storage.queries import arrow, days
from financehub_dagster.storage.queries.given_up import GivenUp

_EVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def concerned(selection: arrow.Selection) -> list[date]:
    """The archived months that hold rows of the selection's time, whether or not they were restored."""
    if not is_partitioned(selection.table):
        return []
    first, after = _span(selection)
    return [
        month
        for month in files.months(selection.table.name)
        if month_bounds(month)[0] < after and month_bounds(month)[1] > first
    ]


def with_archived(reader: arrow.Reader, selection: arrow.Selection, rows: pa.Table) -> pa.Table:
    """`rows`, which the reader has found for the selection, and archived ones, in the order of the key.

    Of a row in both places, the stored one counts. Raises ArchiveError for a time of the past that includes archived
    months: what their rows replaced cannot be told without them.
    """
    months = concerned(selection)
    if months:
        # Asked after the rows were read, which keeps their partitions from being dropped.
        restored = set(reader.texts(_restored(selection.table, months)))
        months = [month for month in months if partition_name(selection.table.name, month) not in restored]
    if not months:
        return rows
    if selection.as_of is not None:
        name, month = selection.table.name, f"{months[0]:%Y-%m}"
        raise ArchiveError(
            f"{name} is archived in {month} and as_of reads the database alone: "
            f"`financehub archive restore {name} {month}`, or a later start"
        )
    given_up = reader.given_up()
    condition = _condition(selection, given_up)
    columns = renaming.needed(selection.table, rows.schema) if given_up else rows.schema
    parts = [files.read_selected(files.path_of(selection.table.name, month), columns, condition) for month in months]
    archived = renaming.under_present_symbols(selection.table, pa.concat_tables(parts), given_up)
    if given_up and selection.symbols is not None:
        archived = archived.filter(pc.field("symbol").isin(list(selection.symbols)))
    return moving.merged(selection.table, rows, archived.select(rows.schema.names))


def _restored(table: sa.Table, months: list[date]) -> str:
    """The partitions of these months that hold all of them."""
    names = ", ".join(f"'{partition_name(table.name, month)}'" for month in months)
    return (
        f"SELECT name FROM unnest(ARRAY[{names}]::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL AND "
        f"obj_description(to_regclass(quote_ident(name)), 'pg_class') LIKE '{partitions.RESTORED}%'"
    )


def _span(selection: arrow.Selection) -> tuple[datetime, datetime]:
    """The first instant of a selection, and one after its last."""
    first, after = _EVER
    if selection.start is not None:
        first = _instant(selection.start)
    if selection.end is not None:
        by_time = isinstance(selection.end, datetime)
        after = _instant(selection.end) + (timedelta(microseconds=1) if by_time else timedelta(days=1))
    return first, after


def _condition(selection: arrow.Selection, given_up: Sequence[GivenUp]) -> pc.Expression | None:
    """The selection's rows, as Parquet readers take it."""
    conditions = []
    if selection.symbols is not None:
        former = [each.old for each in given_up if each.symbol in selection.symbols]
        conditions.append(pc.field("symbol").isin([*selection.symbols, *former]))
    time, (first, after) = pc.field(days.require_time(selection.table).name), _span(selection)
    if selection.start is not None:
        conditions.append(time >= pa.scalar(first, pa.timestamp("us", "UTC")))
    if selection.end is not None:
        conditions.append(time < pa.scalar(after, pa.timestamp("us", "UTC")))
    found = None
    for each in conditions:
        found = each if found is None else found & each
    return found


def _instant(time: date) -> datetime:
    return time if isinstance(time, datetime) else datetime(time.year, time.month, time.day, tzinfo=UTC)
