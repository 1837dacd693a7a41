"""Bars as of a time with the repairs that have one right answer: those of now are kept (`storage.repaired_bars`).

Belongs here: what a repair needs to be read, and putting repaired columns in place of the stored ones. Does not belong
here: the arithmetic (`market.quality.repairs`); tables keep what vendors sent.
"""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from financehub_dagster.market.quality import doubts, repairs, series_arrays
from financehub_dagster.serving.questions import TableQuery
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.queries import arrow

_NEEDED = ("symbol", "date", *series_arrays.PRICES, "adj_close", "volume", "flags")


def concerned(question: TableQuery) -> bool:
    """Whether a question is about repaired bars as of a time."""
    return question.selection.repaired and question.selection.as_of is not None


def repaired(reader: arrow.Reader, question: TableQuery) -> pa.Table:
    """The rows that such a question selects, repaired.

    Whole histories are read, since one repair moves all earlier prices.
    """
    asked = question.selection
    columns = [*asked.columns, *(name for name in _NEEDED if name not in asked.columns)]
    rows = reader.table(replace(asked, columns=columns, start=None, end=None, limit=None))
    flagged = compute.unique(rows.filter(compute.greater(compute.list_value_length(rows["flags"]), 0))["symbol"])
    if len(flagged):
        rows = _repaired(reader, question, rows, np.asarray(compute.is_in(rows["symbol"], flagged)))
    days = rows["date"]
    if asked.start is not None:
        rows = rows.filter(compute.greater_equal(days, pa.scalar(_day(asked.start))))
    if asked.end is not None:
        rows = rows.filter(compute.less_equal(rows["date"], pa.scalar(_day(asked.end))))
    return rows.select(list(asked.columns))


def _repaired(reader: arrow.Reader, question: TableQuery, rows: pa.Table, chosen: NDArray[np.bool_]) -> pa.Table:
    asked = question.selection
    bars = rows.filter(pa.array(chosen)).select(list(_NEEDED)).to_pandas(date_as_object=False)
    names = bars["symbol"].unique().tolist()
    kinds = ["symbol", "date", "kind", "value"]
    actions = reader.table(arrow.Selection(schema.actions, kinds, names, as_of=asked.as_of))
    series = series_arrays.arrange(bars, actions.to_pandas(date_as_object=False))
    bits = np.array([doubts.bits_of(flags) for flags in bars["flags"]], np.uint32)
    found = repairs.repair(series, bits[series.rows()])
    for name, values in found.columns.items():
        column = rows[name].to_numpy().astype(np.float64)
        own = np.empty(len(values))
        own[series.rows()] = values
        column[chosen] = own
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(column, from_pandas=True))
    return rows


def _day(time: date) -> date:
    return time.astimezone(UTC).date() if isinstance(time, datetime) else time
