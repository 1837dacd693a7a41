"""The rows of one write, checked against their table, in key order and without duplicates.

Belongs here: what several columns have to do with each other before the database sees them. Does not belong here: SQL,
and the conversion of one column (column_encoding). Imports numpy: import it inside functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from financehub_dagster.storage.database.errors import BadRows
from financehub_dagster.storage.upsert.binary_copy import Coded, Field
from financehub_dagster.storage.upsert.column_encoding import EPOCH, Refused, no_texts, to_field


@dataclass(frozen=True)
class Batch:
    """Rows ready for COPY: one field per column of the table, in the table's order, sorted by primary key."""

    fields: Sequence[Field]
    rows: int

    def part(self, slices: Sequence[slice]) -> "Batch":
        """The rows of `slices` only, which follow one another."""
        kept = np.concatenate([np.arange(each.start, each.stop) for each in slices])
        if len(kept) == self.rows:
            return self
        return Batch([field.take(kept) for field in self.fields], len(kept))

    def months(self, time: int) -> list[date]:
        """The months that the rows are of, by their first days; `time` is the field of their instants."""
        instants = self.fields[time]
        assert not isinstance(instants, Coded)
        months = np.unique((EPOCH + instants.values.astype(np.int64).astype("timedelta64[us]")).astype("datetime64[M]"))
        return [month.item() for month in months]


def make_batch(table: sa.Table, columns: Mapping[str, NDArray[np.generic]]) -> Batch:
    """Check and sort `columns`, arrays of one length by column name; of rows with the same key the last one stays.

    A column of lists that has a default may be left out: its lists are empty. Raises BadRows, naming table, column and
    row, for a value that the table cannot hold; ValueError for arrays that are not the table's columns.
    """
    rows = _common_length(table, columns)
    fields: dict[str, Field] = {}
    for column in table.columns:
        if column.name not in columns:
            fields[column.name] = no_texts(rows)
            continue
        try:
            fields[column.name] = to_field(column, columns[column.name])
        except Refused as refused:
            raise BadRows(_message(table, column, columns, refused)) from None
    order = _key_order([fields[column.name] for column in table.primary_key.columns])
    ordered = [field if order is None else field.take(order) for field in fields.values()]
    return Batch(ordered, rows if order is None else len(order))


def _common_length(table: sa.Table, columns: Mapping[str, NDArray[np.generic]]) -> int:
    declared = set(table.columns.keys())
    needed = declared - _may_be_left_out(table)
    if not needed <= set(columns) <= declared:
        missing, unknown = sorted(needed - set(columns)), sorted(set(columns) - declared)
        raise ValueError(f"{table.name}: columns missing: {missing}, unknown: {unknown}")
    lengths = {len(array) for array in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"{table.name}: columns differ in length: {sorted(lengths)}")
    return lengths.pop()


def _may_be_left_out(table: sa.Table) -> set[str]:
    """Lists that are empty unless rows say otherwise."""
    columns = (column for column in table.columns if isinstance(column.type, sa.ARRAY))
    return {column.name for column in columns if column.server_default is not None}


def _message(
    table: sa.Table, column: sa.Column[object], columns: Mapping[str, NDArray[np.generic]], refused: Refused
) -> str:
    keys = [str(columns[key.name][refused.row]) for key in table.primary_key.columns if key is not column]
    place = " ".join(keys) or f"row {refused.row}"
    return f"{table.name}: {column.name} {refused.what} for {place}: nothing was written; correct or reject the row"


def _key_order(keys: Sequence[Field]) -> NDArray[np.intp] | None:
    """The rows to keep in key order, or None where all are and stand so already."""
    ranks = [_ranks(key) for key in keys]
    if _strictly_increasing(ranks):
        return None
    order = np.lexsort(ranks[::-1])
    same_as_next = np.ones(max(len(order) - 1, 0), np.bool_)
    for rank in ranks:
        same_as_next &= rank[order[:-1]] == rank[order[1:]]
    kept: NDArray[np.intp] = order[np.append(~same_as_next, [True] * min(len(order), 1))]
    return kept


def _ranks(key: Field) -> NDArray[np.int64]:
    """Integers that sort as the key's values do."""
    if isinstance(key, Coded):
        rank_of = np.empty(len(key.values), np.int64)
        rank_of[sorted(range(len(key.values)), key=key.values.__getitem__)] = np.arange(len(key.values))
        return rank_of[key.codes]
    return key.values.astype(np.int64)


def _strictly_increasing(ranks: Sequence[NDArray[np.int64]]) -> bool:
    """Whether each row's key is greater than the one before it."""
    greater = np.zeros(max(len(ranks[0]) - 1, 0), np.bool_)
    equal = np.ones_like(greater)
    for rank in ranks:
        greater |= equal & (rank[1:] > rank[:-1])
        equal &= rank[1:] == rank[:-1]
    return bool(greater.all())
