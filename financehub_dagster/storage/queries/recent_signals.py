"""Signals of the last sessions, with what is needed to act on them.

Belongs here: reading them. Does not belong here: what is announced (storage.operations.notifications).
"""

from typing import TYPE_CHECKING

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


def to_enter(connection: Connection) -> "pd.DataFrame":
    """symbol, date, rule, price, currency, asset_type and atr (NaN: unknown) of active instruments' recent signals."""
    import pandas as pd

    return pd.read_sql_query(_TO_ENTER, connection, params={"recent": RECENT}, parse_dates=["date"])
