"""Many values in one statement: arrays as parameters, however many values they hold.

Belongs here: arrays to compare a column with, and arrays as rows. Does not belong here: rows to be stored, which the
writer copies.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

type Kind = type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]


def any_of(texts: Iterable[str]) -> sa.ColumnElement[Any]:
    """Any of `texts`, to compare a column with."""
    return sa.any_(sa.cast(list(texts), sa.ARRAY(sa.Text)))


def any_id(ids: Iterable[int]) -> sa.ColumnElement[Any]:
    """Any of `ids`, to compare a column with."""
    return sa.any_(sa.cast(list(ids), sa.ARRAY(sa.BigInteger)))


def side_by_side(**columns: tuple[Sequence[object], Kind]) -> sa.FromClause:
    """Arrays of one length as rows, with a column for each: its values and their type by its name."""
    arrays = (sa.cast(list(values), sa.ARRAY(kind)) for values, kind in columns.values())
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived()


def rows_of(rows: Sequence[Mapping[str, object]], types: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.FromClause:
    """Rows, given by column name, as a table of one array per column: the columns of `types`, in their order.

    A JSON column takes what JSON can carry; an array column, whose arrays may differ in length, cannot be in an array.
    """
    is_json = {name: isinstance(kind, sa.types.JSON) for name, kind in types.items()}
    arrays = side_by_side(
        **{
            name: ([json.dumps(row[name]) if is_json[name] else row[name] for row in rows], _element(kind))
            for name, kind in types.items()
        }
    )
    return sa.select(
        *(
            sa.cast(arrays.c[name], kind).label(name) if is_json[name] else arrays.c[name]
            for name, kind in types.items()
        )
    ).subquery()


def _element(kind: sa.types.TypeEngine[Any]) -> Any:
    return sa.Text() if isinstance(kind, sa.types.JSON) else kind
