"""What the rows of each table look like: columns, types, ranges and which may be unknown, as pandera schemas.

Belongs here: what one value must be; of tables that vendors fill, by their `limits`. Does not belong here: how values
of one row relate (`quality`), or how tables are stored. Imports pandera and pandas, so it is itself
imported only where a table is checked.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.indicators.columns import INDICATORS, IndicatorColumn
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.market.quality.limits import CURRENCY, LIMITS, Kind, Limit

_ROUNDING = 1e-6
"""How far a running sum may carry a bounded indicator over its bound."""


def schema_of(table: str) -> pa.DataFrameSchema:
    """The schema of a table's rows as pandas reads them; raises ValueError for an unknown table.

    Types are coerced first, because pandas reads dates, and columns without a single value, as objects.
    """
    if table not in _SCHEMAS:
        raise ValueError(f"there is no schema of {table}, only of {', '.join(_SCHEMAS)}")
    return _schema(table)


@cache
def _schema(table: str) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(_SCHEMAS[table](), strict=True, name=table)


def _text(*checks: pa.Check, nullable: bool = False) -> pa.Column:
    return pa.Column(str, checks=list(checks), nullable=nullable, coerce=True)


def _number(*checks: pa.Check, nullable: bool = False) -> pa.Column:
    finite = pa.Check(lambda values: ~np.isinf(values), name="finite", error="finite")
    return pa.Column(float, checks=[finite, *checks], nullable=nullable, coerce=True)


def _date() -> pa.Column:
    whole_days = pa.Check(lambda dates: dates == dates.dt.normalize(), name="whole_day", error="whole_day")
    return pa.Column("datetime64[s]", checks=whole_days, coerce=True)


def _instant() -> pa.Column:
    return pa.Column(pd.DatetimeTZDtype("us", "UTC"), coerce=True)


def _declared(table: str) -> Callable[[], dict[str, pa.Column]]:
    """The columns of a table that vendors fill, by the limits its rows are judged by before they are stored."""
    return lambda: {name: _limited(limit) for name, limit in LIMITS[table].items()}


def _limited(limit: Limit) -> pa.Column:
    if limit.kind is Kind.DAY:
        return _date()
    if limit.kind is Kind.INSTANT:
        return _instant()
    if limit.kind is Kind.TEXT:
        pattern = pa.Check.str_length(min_value=1) if limit.pattern is None else pa.Check.str_matches(limit.pattern)
        return _text(pa.Check.isin(limit.choices) if limit.choices else pattern, nullable=limit.optional)
    bounds = [pa.Check.gt(limit.above)] if limit.above > -math.inf else []
    bounds += [pa.Check.ge(limit.least)] if limit.least > -math.inf else []
    return _number(*bounds, nullable=limit.optional)


def _indicator(column: IndicatorColumn) -> pa.Column:
    if column.bounds is None:
        return _number(nullable=True)
    low, high = column.bounds
    return _number(pa.Check.in_range(low - _ROUNDING, high + _ROUNDING), nullable=True)


def _indicators() -> dict[str, pa.Column]:
    return {
        "symbol": _text(pa.Check.str_length(min_value=1)),
        "date": _date(),
        **{column.name: _indicator(column) for column in INDICATORS},
        "computed_at": _instant(),
    }


def _instruments() -> dict[str, pa.Column]:
    mapping = pa.Check(lambda value: isinstance(value, dict), element_wise=True, name="mapping", error="mapping")
    return {
        "symbol": _text(pa.Check.str_matches(r"^[A-Z0-9^][A-Z0-9.^=&/-]{0,31}$")),
        "name": _text(pa.Check.str_length(min_value=1)),
        "asset_type": _text(pa.Check.isin([kind.value for kind in AssetType])),
        "exchange": _text(pa.Check.isin(list(exchanges()))),
        "currency": _text(pa.Check.str_matches(CURRENCY)),
        "timezone": _text(pa.Check.str_length(min_value=1)),
        "is_active": pa.Column(checks=pa.Check.isin([True, False])),
        "market_cap": _number(pa.Check.gt(0), nullable=True),
        "aliases": pa.Column(object, checks=mapping),
        "updated_at": _instant(),
    }


_SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "instruments": _instruments,
    **{table: _declared(table) for table in LIMITS},
    "indicators_daily": _indicators,
}
