"""Signals of the last sessions, with what is needed to act on them.

Belongs here: reading them. Does not belong here: what is announced (storage.operations.notifications).
"""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.operations.notifications import RECENT

if TYPE_CHECKING:
    import pandas as pd

_TO_ENTER = sa.text("""
    select s.symbol, s.date, s.rule, s.price, i.currency, i.asset_type, n.atr_14 as atr
    from instruments i cross join lateral (
        select * from signals
        where signals.symbol = i.symbol and signals.date >= current_date - cast(:recent as interval)
            and signals.direction in ('entry', 'bullish') offset 0
    ) s
    left join indicators_daily n on n.symbol = s.symbol and n.date = s.date
    where i.is_active order by s.symbol, s.date, s.rule
    """)


_NEWEST = sa.text("""
    select s.symbol, s.date, s.rule, s.direction, s.value, s.level, s.price, i.currency
    from instruments i cross join lateral (
        select * from signals
        where signals.symbol = i.symbol and signals.date between cast(:last as date) - 7 and cast(:last as date)
            and signals.rule = any(cast(:rules as text[])) offset 0
    ) s
    where i.is_active order by s.date desc, i.importance desc, s.symbol, s.rule limit :most
    """)


def newest(connection: Connection, rules: Sequence[str], last: date, most: int) -> list[dict[str, Any]]:
    """The newest signals of these rules in the week until `last`, at most so many, important instruments first."""
    found = connection.execute(_NEWEST, {"rules": list(rules), "last": last, "most": most})
    return [dict(row) for row in found.mappings()]


def to_enter(connection: Connection) -> "pd.DataFrame":
    """symbol, date, rule, price, currency, asset_type and atr (NaN: unknown) of active instruments' recent signals."""
    import pandas as pd

    return pd.read_sql_query(_TO_ENTER, connection, params={"recent": RECENT}, parse_dates=["date"])
