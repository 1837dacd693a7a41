"""Many values in one statement: arrays as parameters, however many values they hold.

Belongs here: arrays to compare a column with, and arrays as rows. Does not belong here: rows to be stored, which the
writer copies.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

type Kind = type[sa.types.TypeEngine[Any]]


def any_of(texts: Iterable[str]) -> sa.ColumnElement[Any]:
    """Any of `texts`, to compare a column with."""
    return sa.any_(sa.cast(list(texts), sa.ARRAY(sa.Text)))


def side_by_side(**columns: tuple[Sequence[object], Kind]) -> sa.FromClause:
    """Arrays of one length as rows, with a column for each: its values and their type by its name."""
    arrays = (sa.cast(list(values), sa.ARRAY(kind)) for values, kind in columns.values())
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived()
