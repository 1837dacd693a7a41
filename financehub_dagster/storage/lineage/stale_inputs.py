"""Dirty marks: instruments whose derived rows are stale from a date on.

Belongs here: setting, reading and clearing them. Does not belong here: recomputing.

Whoever recomputes reads the marks before the inputs and clears exactly those versions after writing: a mark that was
set again in the meantime has a higher version and stays. A cleared mark keeps its version, so that whoever read inputs
before somebody else cleared it can tell that they have changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from financehub_dagster.storage.database.array_parameters import any_of, insert_rows, side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.schema import dirty_marks


@dataclass(frozen=True)
class Mark:
    """An instrument's derived rows are stale from `dirty_from` on, None: they are not.

    `version` grows each time it is marked.
    """

    dirty_from: date | None
    version: int


def mark_dirty(connection: Connection, table: str, changed_from: Mapping[str, date]) -> None:
    """Mark each symbol's rows of the derived `table` stale from its date, or from the earlier one it has already."""
    if not changed_from:
        return
    starts = sorted(changed_from.items())
    marked = insert_rows(
        dirty_marks, [{"table_name": table, "symbol": symbol, "dirty_from": since} for symbol, since in starts]
    )
    connection.execute(
        marked.on_conflict_do_update(
            index_elements=[dirty_marks.c.table_name, dirty_marks.c.symbol],
            set_={
                "dirty_from": sa.func.least(dirty_marks.c.dirty_from, marked.excluded.dirty_from),
                "version": dirty_marks.c.version + 1,
            },
        )
    )


def read_marks(connection: Connection, table: str, symbols: Sequence[str]) -> dict[str, Mark]:
    """The marks of the derived `table` by symbol, cleared ones too, for those of `symbols` that were ever marked."""
    query = sa.select(dirty_marks.c.symbol, dirty_marks.c.dirty_from, dirty_marks.c.version).where(
        dirty_marks.c.table_name == table, dirty_marks.c.symbol == any_of(symbols)
    )
    return {symbol: Mark(since, version) for symbol, since, version in connection.execute(query)}


def clear_marks(connection: Connection, table: str, marks: Mapping[str, Mark]) -> int:
    """Clear the marks that still are as they were read; returns how many."""
    marks = {symbol: mark for symbol, mark in marks.items() if mark.dirty_from is not None}
    if not marks:
        return 0
    symbols = sorted(marks)
    # Marked in this order too: of two transactions neither holds a row that the other has to pass first.
    ours = sa.and_(dirty_marks.c.table_name == table, dirty_marks.c.symbol == any_of(symbols))
    connection.execute(sa.select(sa.literal(1)).where(ours).order_by(dirty_marks.c.symbol).with_for_update())
    read = side_by_side(
        symbol=(symbols, sa.Text), version=([marks[symbol].version for symbol in symbols], sa.BigInteger)
    )
    done = (
        sa.update(dirty_marks)
        .values(dirty_from=None)
        .where(
            dirty_marks.c.table_name == table,
            dirty_marks.c.symbol == read.c.symbol,
            dirty_marks.c.version == read.c.version,
        )
    )
    return connection.execute(done).rowcount


def marked_since(connection: Connection, table: str, symbols: Sequence[str], read: Mapping[str, Mark]) -> list[str]:
    """Those of `symbols` that were marked after their marks were `read`, in their order."""
    now = read_marks(connection, table, symbols)
    return [symbol for symbol in symbols if symbol in now and now[symbol].version > _version(read.get(symbol))]


def _version(mark: Mark | None) -> int:
    return 0 if mark is None else mark.version
