"""What the rows of each table look like: columns, types, ranges and which may be unknown, as pandera schemas.

Belongs here: what one value must be. Does not belong here: how values of one bar relate (`quality`), or how tables are
stored. Imports pandera and pandas, so it is itself imported only where a table is checked.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.indicators.columns import INDICATORS, IndicatorColumn
from financehub_dagster.market.instruments import AssetType

ACTION_KINDS = ("dividend", "split", "capital_gain")
"""What a corporate action can be."""

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


def _text(*checks: pa.Check) -> pa.Column:
    return pa.Column(str, checks=list(checks), coerce=True)


def _number(*checks: pa.Check, nullable: bool = False) -> pa.Column:
    finite = pa.Check(lambda values: ~np.isinf(values), name="finite", error="finite")
    return pa.Column(float, checks=[finite, *checks], nullable=nullable, coerce=True)


def _date() -> pa.Column:
    whole_days = pa.Check(lambda dates: dates == dates.dt.normalize(), name="whole_day", error="whole_day")
    return pa.Column("datetime64[s]", checks=whole_days, coerce=True)


def _instant() -> pa.Column:
    return pa.Column(pd.DatetimeTZDtype("us", "UTC"), coerce=True)


def _bars() -> dict[str, pa.Column]:
    return {
        "symbol": _text(pa.Check.str_length(min_value=1)),
        "date": _date(),
        **{name: _number(pa.Check.gt(0)) for name in ("open", "high", "low", "close")},
        "adj_close": _number(nullable=True),
        "volume": _number(pa.Check.ge(0)),
        "source": _text(pa.Check.str_length(min_value=1)),
        "fetched_at": _instant(),
    }


def _corporate_actions() -> dict[str, pa.Column]:
    return {
        "symbol": _text(pa.Check.str_length(min_value=1)),
        "date": _date(),
        "kind": _text(pa.Check.isin(ACTION_KINDS)),
        "value": _number(pa.Check.gt(0)),
        "source": _text(pa.Check.str_length(min_value=1)),
        "fetched_at": _instant(),
    }


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
        "currency": _text(pa.Check.str_matches(r"^[A-Z]{3}$")),
        "timezone": _text(pa.Check.str_length(min_value=1)),
        "is_active": pa.Column(checks=pa.Check.isin([True, False])),
        "market_cap": _number(pa.Check.gt(0), nullable=True),
        "aliases": pa.Column(object, checks=mapping),
        "updated_at": _instant(),
    }


_SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "instruments": _instruments,
    "stock_prices_daily": _bars,
    "crypto_prices_daily": _bars,
    "corporate_actions": _corporate_actions,
    "indicators_daily": _indicators,
}
