"""`read`: stored tables as pandas, polars or Arrow, filtered, adjusted, as of any time, long or wide.

Belongs here: the Python API. Does not belong here: SQL (`storage.queries.arrow`) and the arithmetic of adjustments
(`market.price_bases`). Imported when `financehub_dagster.read` is first used.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, overload

import pyarrow as pa

from financehub_dagster.market.price_bases import Basis
from financehub_dagster.serving import archived, layouts, repairing
from financehub_dagster.serving.adjusting import Adjuster
from financehub_dagster.serving.errors import ReadError, unknown
from financehub_dagster.serving.questions import (
    TableQuery,
    ask,
    require_kept,
    require_known,
    warn,
    with_present_symbols,
)
from financehub_dagster.storage.queries import arrow

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

type Layout = Literal["long", "wide"]
LIBRARIES = ("pandas", "polars", "arrow")


class Asked(TypedDict, total=False):
    """What `read` may be asked beside the table and the library, as its signature says."""

    symbols: str | Sequence[str] | None
    start: date | str | None
    end: date | str | None
    columns: str | Sequence[str] | None
    as_of: datetime | str | None
    adjust: Basis
    repaired: bool
    layout: Layout


@overload
def read(table: str, *, to: Literal["pandas"] = ..., **asked: Unpack[Asked]) -> "pd.DataFrame": ...
@overload
def read(table: str, *, to: Literal["polars"], **asked: Unpack[Asked]) -> "pl.DataFrame": ...
@overload
def read(table: str, *, to: Literal["arrow"], **asked: Unpack[Asked]) -> pa.Table: ...
def read(
    table: str,
    *,
    symbols: str | Sequence[str] | None = None,
    start: date | str | None = None,
    end: date | str | None = None,
    columns: str | Sequence[str] | None = None,
    as_of: datetime | str | None = None,
    adjust: Basis = "split",
    repaired: bool = False,
    layout: Layout = "long",
    to: Literal["pandas", "polars", "arrow"] = "pandas",
) -> "pd.DataFrame | pl.DataFrame | pa.Table":
    """The rows of a stored table, in the order of its key.

    symbols: one, several, or several in one text with commas; None: all. One that an instrument gave up finds that
    instrument, with a warning (RenamedSymbol). start, end: days or UTC times, both included.
    columns: besides the key; None: all. as_of: the table as it was known at that time (UTC unless it has a zone).
    adjust: "split" as stored; "adjusted" for dividends too; "raw" as traded. repaired: of daily bars, with the
    repairs of doubtful ones that have one right answer. layout "wide": a row per day or time, a
    column per symbol (of `close`, unless `columns` names others). to: the library of the result; dates are
    datetime64 in pandas and Date otherwise, times are UTC. Archived months of intraday bars are read with the others.
    The embedded database is started if nothing runs.

    Raises ReadError for what there is not, in one line that says what there is; DatabaseError.
    """
    if to not in LIBRARIES:
        raise unknown("library", to, LIBRARIES, "")
    if layout not in ("long", "wide"):
        raise unknown("layout", layout, ("long", "wide"), "")
    wide = layout == "wide"
    if wide and columns is None:
        columns = layouts.DEFAULT_VALUE
    question = ask(
        table, symbols=symbols, start=start, end=end, columns=columns, as_of=as_of, adjust=adjust, repaired=repaired
    )
    values = layouts.value_columns(question) if wide else ()
    rows = answer(question)
    if wide:
        return layouts.wide(rows, values, to)
    return layouts.convert(rows, to)


def answer(question: TableQuery, tell: Callable[[str], None] = warn) -> pa.Table:
    """The rows that `question` asks for; `tell` is told of symbols that are others now.

    Raises ReadError for what there is not; DatabaseError.
    """
    with arrow.reading() as reader:
        require_kept(reader, question)
        rows = rows_within(reader, question)
        if lacking := _lacking(question, rows):
            present = with_present_symbols(reader, question, lacking, tell)
            if present is not question:
                question, rows = present, rows_within(reader, present)
            require_known(reader, _lacking(question, rows))
    return rows


def rows_within(reader: arrow.Reader, question: TableQuery) -> pa.Table:
    """The rows of `question` in the reader's snapshot, on its basis; raises ReadError, DatabaseError."""
    if repairing.concerned(question):
        stored = repairing.repaired(reader, question)
    else:
        stored = archived.read(reader, question.selection)
    return Adjuster(reader, question).apply(stored)


def _lacking(question: TableQuery, rows: pa.Table) -> list[str]:
    """The symbols that were asked for and have no rows."""
    asked = question.selection.symbols
    if asked is None or (len(asked) == 1 and rows.num_rows):
        return []
    found = set(rows["symbol"].unique().to_pylist())
    return [symbol for symbol in asked if symbol not in found]


__all__ = ["ReadError", "read"]
