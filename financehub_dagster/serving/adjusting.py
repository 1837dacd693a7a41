"""Stored rows brought to another price basis, batch by batch.

Belongs here: which columns of which table a basis changes, and the splits it needs. Does not belong here: the
arithmetic (`market.price_bases`).
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from financehub_dagster.market import price_bases
from financehub_dagster.market.adjustments import CASH
from financehub_dagster.serving.questions import TableQuery
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.queries import arrow


class _Splits(NamedTuple):
    """The splits of one instrument: ex-dates, and new shares per old one."""

    ex_dates: NDArray[np.datetime64]
    ratios: NDArray[np.float64]


class Adjuster:
    """Brings rows to the basis of a question; the splits are those known at its time, read in the same snapshot."""

    def __init__(self, reader: arrow.Reader, question: TableQuery) -> None:
        self._question = question
        self._splits = _read_splits(reader, question) if question.basis == "raw" else {}

    def apply(self, rows: pa.Table) -> pa.Table:
        """The wanted columns of `rows` on the basis; in any order of rows."""
        question = self._question
        if question.basis == "adjusted":
            rows = _fully_adjusted(rows)
        elif question.basis == "raw":
            rows = self._as_traded(rows)
        return rows.select(list(question.columns))

    def _as_traded(self, rows: pa.Table) -> pa.Table:
        names = [name for name in (*price_bases.PRICES, "value") if name in rows.column_names]
        if not self._splits or not rows.num_rows or not (names or "volume" in rows.column_names):
            return rows
        factors = self._factors(rows)
        for name in names:
            found = price_bases.as_traded(_floats(rows[name]), factors)
            if name == "value":
                found = np.where(np.isin(rows["kind"].to_numpy(zero_copy_only=False), CASH), found, _floats(rows[name]))
            rows = _with(rows, name, found)
        if "volume" in rows.column_names:
            rows = _with(rows, "volume", price_bases.shares_traded(_floats(rows["volume"]), factors))
        return rows

    def _factors(self, rows: pa.Table) -> NDArray[np.float64]:
        encoded = rows["symbol"].combine_chunks().dictionary_encode()
        symbols, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        days, factors = _days(rows), np.ones(rows.num_rows)
        starts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist()]
        for start, stop in zip(starts, [*starts[1:], rows.num_rows], strict=True):
            splits = self._splits.get(symbols[codes[start]])
            if splits is not None:
                factors[start:stop] = price_bases.split_factors(days[start:stop], *splits)
        return factors


def _read_splits(reader: arrow.Reader, question: TableQuery) -> dict[str, _Splits]:
    asked = question.selection
    columns = ["symbol", "date", "kind", "value"]
    actions = reader.table(arrow.Selection(schema.actions, columns, asked.symbols, as_of=asked.as_of))
    frame = actions.to_pandas(date_as_object=False)
    frame = frame[(frame["kind"] == "split") & (frame["value"] > 0)]
    return {
        str(symbol): _Splits(own["date"].to_numpy("datetime64[D]"), own["value"].to_numpy(np.float64))
        for symbol, own in frame.groupby("symbol")
    }


def _fully_adjusted(rows: pa.Table) -> pa.Table:
    wanted = [name for name in price_bases.PRICES if name in rows.column_names]
    if not wanted:
        return rows
    close, adjusted = _floats(rows["close"]), _floats(rows["adj_close"])
    for name in wanted:
        found = price_bases.fully_adjusted(_floats(rows[name]), close, adjusted) if name != "close" else adjusted
        rows = _with(rows, name, found)
    return rows


def _days(rows: pa.Table) -> NDArray[np.datetime64]:
    """The day of each row: its date, or the UTC day of its time."""
    name = next(name for name in ("date", "ts") if name in rows.column_names)
    days: NDArray[np.datetime64] = rows[name].to_numpy().astype("datetime64[D]")
    return days


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), np.float64)


def _with(rows: pa.Table, name: str, values: NDArray[np.float64]) -> pa.Table:
    """`rows` with a column replaced; NaN is NULL, as in the table."""
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, from_pandas=True))


__all__ = ["Adjuster"]
