"""Rows as a frame of pandas or polars, or as Arrow; long as stored, or wide with a column per symbol.

Belongs here: the shape of results. Does not belong here: what is in them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.questions import TableQuery
from financehub_dagster.storage.queries import days

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

DEFAULT_VALUE = "close"
"""What a wide frame shows unless it is asked for something else."""
FEW = 20_000
"""Rows up to which handing columns to other threads takes longer than making pandas' columns."""


def value_columns(question: TableQuery) -> tuple[str, ...]:
    """The columns that a wide frame spreads over the symbols; raises ReadError where rows do not fit into one."""
    table = question.selection.table
    time = days.time_column(table)
    key = table.primary_key.columns.keys()
    if time is None or key != ["symbol", time.name]:
        raise ReadError(f"{table.name} has no single row per symbol and day: layout='wide' is for bars and the like")
    return tuple(name for name in question.columns if name not in key)


def convert(rows: pa.Table, to: str) -> "pd.DataFrame | pl.DataFrame | pa.Table":
    """`rows` as a frame of the library `to`."""
    if to == "arrow":
        return rows
    if to == "polars":
        try:
            import polars
        except ImportError:
            remedy = "`pip install polars`, or read to='pandas' or to='arrow'"
            raise ReadError(f"polars is not installed: {remedy}") from None
        return polars.from_arrow(rows)
    return rows.to_pandas(date_as_object=False, use_threads=rows.num_rows > FEW)


def wide(rows: pa.Table, values: Sequence[str], to: str) -> "pd.DataFrame | pl.DataFrame | pa.Table":
    """A row per day or time and a column per symbol; with several `values` a column per value and symbol.

    pandas has the time as its index, and pairs of value and symbol as columns if there are several values; Arrow and
    polars have the time as their first column and name the others `AAPL`, or `close.AAPL`.
    """
    time = next(name for name in rows.column_names if name != "symbol" and name not in values)
    symbols, times, places = _places(rows, time)
    grids = {}
    for name in values:
        column = rows[name]
        grid: Any = np.full((len(times), len(symbols)), None if pa.types.is_string(column.type) else np.nan)
        if not (pa.types.is_floating(column.type) or pa.types.is_string(column.type)):
            raise ReadError(f"{name} is neither a number nor a text: leave it out of a wide layout")
        grid[places] = column.to_numpy(zero_copy_only=False)
        grids[name] = grid
    if to == "pandas":
        return _wide_pandas(grids, symbols, times, time)
    single = len(values) == 1
    columns = {time: times}
    for name, grid in grids.items():
        for number, symbol in enumerate(symbols):
            columns[symbol if single else f"{name}.{symbol}"] = pa.array(grid[:, number], from_pandas=True)
    return convert(pa.table(columns), to)


def _places(rows: pa.Table, time: str) -> tuple[list[str], pa.Array, tuple[Any, Any]]:
    """The symbols, the times in order, and where in their grid each row belongs."""
    encoded = [rows[name].combine_chunks().dictionary_encode() for name in ("symbol", time)]
    symbols, instants = encoded[0].dictionary.to_pylist(), encoded[1].dictionary
    order = np.argsort(instants.to_numpy(zero_copy_only=False), kind="stable")
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    row, column = rank[encoded[1].indices.to_numpy()], encoded[0].indices.to_numpy()
    return symbols, instants.take(pa.array(order)), (row, column)


def _wide_pandas(grids: dict[str, Any], symbols: list[str], times: pa.Array, time: str) -> "pd.DataFrame":
    import pandas as pd

    index = pd.Index(times.to_pandas(date_as_object=False), name=time)
    frames = {name: pd.DataFrame(grid, index, pd.Index(symbols, name="symbol")) for name, grid in grids.items()}
    return next(iter(frames.values())) if len(frames) == 1 else pd.concat(frames, axis=1)
