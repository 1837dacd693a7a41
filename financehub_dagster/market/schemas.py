"""What the rows of a table look like: columns, types, ranges and which may be unknown, as pandera schemas.

Belongs here: from the limits of columns to a schema. Does not belong here: the limits of a table (tables), how values
of one row relate (`quality`), or how tables are stored. Imports pandera and pandas, so it is itself imported only where
a table is checked; pandera without hypothesis, with which it makes up data in tests, and which takes it 0.1 s.
"""

import math
from collections.abc import Mapping
from importlib import import_module

import numpy as np
import pandas as pd

from financehub_dagster.market.quality.limits import Kind, Limit
from financehub_dagster.plain_imports import without

with without("hypothesis"):
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

    import_module("pandera.backends.pandas.builtin_checks")  # or the first schema that judges does, with hypothesis

__all__ = ["SchemaErrors", "schema_of"]


def schema_of(name: str, limits: Mapping[str, Limit]) -> pa.DataFrameSchema:
    """The schema of rows as pandas reads them, by the limits of their columns.

    Types are coerced first, because pandas reads dates, and columns without a single value, as objects.
    """
    return pa.DataFrameSchema({column: _column(limit) for column, limit in limits.items()}, strict=True, name=name)


def _column(limit: Limit) -> pa.Column:
    if limit.kind is Kind.DAY:
        return _date(limit.optional)
    if limit.kind is Kind.INSTANT:
        return pa.Column(pd.DatetimeTZDtype("us", "UTC"), nullable=limit.optional, coerce=True)
    if limit.kind is Kind.FLAG:
        return pa.Column(checks=pa.Check.isin([True, False]), nullable=limit.optional)
    if limit.kind in (Kind.MAPPING, Kind.LIST):
        expected = dict if limit.kind is Kind.MAPPING else list
        shape = pa.Check(
            lambda value: isinstance(value, expected), element_wise=True, name=limit.kind, error=limit.kind
        )
        return pa.Column(object, checks=shape, nullable=limit.optional)
    return _text(limit) if limit.kind is Kind.TEXT else _number(limit)


def _text(limit: Limit) -> pa.Column:
    pattern = pa.Check.str_length(min_value=1) if limit.pattern is None else pa.Check.str_matches(limit.pattern)
    check = pa.Check.isin(list(limit.allowed)) if limit.choices else pattern
    return pa.Column(str, checks=check, nullable=limit.optional, coerce=True)


def _number(limit: Limit) -> pa.Column:
    checks = [pa.Check(lambda values: ~np.isinf(values), name="finite", error="finite")]
    checks += [pa.Check.gt(limit.above)] if limit.above > -math.inf else []
    checks += [pa.Check.ge(limit.least)] if limit.least > -math.inf else []
    checks += [pa.Check.le(limit.most)] if limit.most < math.inf else []
    return pa.Column(float, checks=checks, nullable=limit.optional, coerce=True)


def _date(nullable: bool) -> pa.Column:
    whole_days = pa.Check(lambda dates: dates == dates.dt.normalize(), name="whole_day", error="whole_day")
    return pa.Column("datetime64[s]", checks=whole_days, nullable=nullable, coerce=True)
