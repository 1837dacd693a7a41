"""Many values in one statement: arrays as parameters, however many values they hold.

Belongs here: arrays to compare a column with, and arrays as rows. Does not belong here: rows of vendors, which the
writer copies.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert, insert

type Kind = type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]


def any_of(texts: Iterable[str]) -> sa.ColumnElement[Any]:
    """Any of `texts`, to compare a column with."""
    return sa.any_(sa.cast(list(texts), sa.ARRAY(sa.Text)))


def any_id(ids: Iterable[int]) -> sa.ColumnElement[Any]:
    """Any of `ids`, to compare a column with."""
    return sa.any_(sa.cast(list(ids), sa.ARRAY(sa.BigInteger)))


def arrays_of(records: Sequence[object], *names: str) -> dict[str, list[Any]]:
    """The values of each of these attributes, by its name: the parameters of a statement that unnests them."""
    return {name: [getattr(each, name) for each in records] for name in names}


def side_by_side(**columns: tuple[Sequence[object], Kind]) -> sa.FromClause:
    """Arrays of one length as rows, with a column for each: its values and their type by its name."""
    arrays = (sa.cast(list(values), sa.ARRAY(kind)) for values, kind in columns.values())
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived()


def rows_of(rows: Sequence[Mapping[str, object]], types: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.FromClause:
    """Rows, given by column name, as a table of one array per column: the columns of `types`, in their order.

    A JSON column takes what JSON can carry. What PostgreSQL's text cannot hold is replaced (`storable`).
    """
    columns = {name: _values([row[name] for row in rows], kind) for name, kind in types.items()}
    arrays = side_by_side(**columns)
    return sa.select(*(sa.cast(arrays.c[name], kind).label(name) for name, kind in types.items())).subquery()


def insert_rows(table: sa.Table, rows: Sequence[Mapping[str, object]]) -> Insert:
    """The statement that inserts these rows, of which there is one and all name the same columns of `table`."""
    types = {name: table.c[name].type for name in rows[0]}
    return insert(table).from_select(list(types), sa.select(rows_of(rows, types)))


def _values(values: Sequence[object], kind: sa.types.TypeEngine[Any]) -> tuple[Sequence[object], Kind]:
    if isinstance(kind, sa.types.JSON):
        return [json.dumps(storable(value)) for value in values], sa.Text()
    return [storable(value) for value in values], kind


def storable(value: object) -> object:
    """`value` with a question mark for what no text of PostgreSQL can hold: NUL, and halves of surrogate pairs.

    Looks into lists and mappings too, as JSON has them.
    """
    if isinstance(value, str):
        return value.replace("\0", "?").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(key): storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    return value
