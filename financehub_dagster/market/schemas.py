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

_CURRENCY = r"^[A-Z]{3}$"

_FIGURES = (
    "pe_ratio forward_pe peg_ratio price_to_book price_to_sales eps book_value profit_margin operating_margin"
    " return_on_assets return_on_equity revenue ebitda beta"
).split()
"""Figures of companies that may be any number."""

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


def _priced(nullable: dict[str, tuple[pa.Check, ...]]) -> dict[str, pa.Column]:
    return {
        "symbol": _text(pa.Check.str_length(min_value=1)),
        "quoted_at": _instant(),
        "price": _number(pa.Check.gt(0)),
        **{name: _number(*checks, nullable=True) for name, checks in nullable.items()},
        "currency": _text(pa.Check.str_matches(_CURRENCY)),
        "source": _text(pa.Check.str_length(min_value=1)),
        "fetched_at": _instant(),
    }


def _quotes() -> dict[str, pa.Column]:
    positive, not_negative = (pa.Check.gt(0),), (pa.Check.ge(0),)
    prices = dict.fromkeys(("open", "high", "low", "previous_close"), positive)
    return _priced({**prices, "volume": not_negative})


def _crypto_markets() -> dict[str, pa.Column]:
    not_negative = dict.fromkeys(
        ("market_cap", "volume_24h", "circulating_supply", "total_supply", "max_supply"), (pa.Check.ge(0),)
    )
    return _priced({**not_negative, "change_24h": (pa.Check.ge(-100),), "rank": (pa.Check.ge(1),)})


def _fundamentals() -> dict[str, pa.Column]:
    positive, above_nothing = (pa.Check.gt(0),), (pa.Check.ge(0),)
    figures: dict[str, tuple[pa.Check, ...]] = {
        **dict.fromkeys(("market_cap", "shares_outstanding", "high_52w", "low_52w"), positive),
        **dict.fromkeys(("dividend_per_share", "dividend_yield"), above_nothing),
        **dict.fromkeys(_FIGURES, ()),
    }
    return {
        "symbol": _text(pa.Check.str_length(min_value=1)),
        "date": _date(),
        "currency": _text(pa.Check.str_matches(_CURRENCY)),
        **{name: _text(pa.Check.str_length(min_value=1), nullable=True) for name in ("sector", "industry")},
        **{name: _number(*checks, nullable=True) for name, checks in figures.items()},
        "source": _text(pa.Check.str_length(min_value=1)),
        "fetched_at": _instant(),
    }


def _news() -> dict[str, pa.Column]:
    some = pa.Check.str_length(min_value=1)
    return {
        "url": _text(pa.Check.str_matches(r"^https?://")),
        "title": _text(some),
        **{name: _text(some, nullable=True) for name in ("summary", "publisher", "author")},
        "published_at": _instant(),
        "source": _text(some),
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
        "currency": _text(pa.Check.str_matches(_CURRENCY)),
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
    "quotes": _quotes,
    "crypto_markets": _crypto_markets,
    "fundamentals": _fundamentals,
    "news_articles": _news,
}
