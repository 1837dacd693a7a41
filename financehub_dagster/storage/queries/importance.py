"""What the importance of instruments is computed from, and storing it.

Belongs here: these statements. Does not belong here: the arithmetic (market.importance).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from math import nan
from typing import TYPE_CHECKING

import sqlalchemy as sa

from financehub_dagster.market.importance import DAYS
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.market.journal.series import Closes, Rates, pair_of
from financehub_dagster.storage.database.array_parameters import side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import instruments
from financehub_dagster.storage.queries.holdings import positions
from financehub_dagster.tables import BARS_OF

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RECENT = """
    select i.symbol, i.currency, i.market_cap, c.closes, c.newest from instruments i cross join lateral (
        select array_agg(close order by date) as closes, max(date) as newest from ({closes}) b
    ) c where i.is_active order by i.symbol
"""
_PAIRS = next(name for name, kinds in BARS_OF.items() if AssetType.FX in kinds)
_RATES = sa.text(f"""
    select i.symbol, i.currency, b.date, b.close from instruments i cross join lateral (
        select date, close from {_PAIRS} where symbol = i.symbol order by date desc limit 1
    ) b where i.asset_type = :fx
""")


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the active instruments.

    held is worth 0 where there is nothing, market_cap NaN where it is unknown, newest None where no session is stored.
    Instrument i owns closes offsets[i] to offsets[i + 1]. Amounts are in the currency of most instruments, where stored
    pairs have a rate; others are left in their own.
    """

    symbols: list[str]
    held: "NDArray[np.float64]"
    market_cap: "NDArray[np.float64]"
    offsets: "NDArray[np.int64]"
    closes: "NDArray[np.float64]"
    newest: list[date | None]


def read(connection: Connection) -> Known:
    """What is stored of all active instruments."""
    import numpy as np

    own = (
        f"(select date, close from {name} where symbol = i.symbol order by date desc limit {DAYS + 1})"
        for name in BARS_OF
    )
    rows = connection.execute(sa.text(_RECENT.format(closes=" union all ".join(own)))).all()
    closes = [row.closes or [] for row in rows]
    rate = _rates(connection, Counter(row.currency for row in rows))
    held: defaultdict[str, float] = defaultdict(float)
    for each in positions(connection):
        price = each.cost if each.close is None else each.close
        held[each.symbol] += abs(each.quantity * price) * rate(each.currency)
    return Known(
        [row.symbol for row in rows],
        np.array([held[row.symbol] for row in rows]),
        np.array([nan if row.market_cap is None else row.market_cap * rate(row.currency) for row in rows]),
        np.cumsum([0, *(len(each) for each in closes)], dtype=np.int64),
        np.array([close for each in closes for close in each], np.float64),
        [row.newest for row in rows],
    )


def _rates(connection: Connection, currencies: Counter[str]) -> Callable[[str], float]:
    """What a unit of a currency is worth in the most frequent one of `currencies`; 1 where no pair leads there."""
    pairs: dict[tuple[str, str], Closes] = {}
    for row in connection.execute(_RATES, {"fx": AssetType.FX}):
        pair = pair_of(row.symbol, row.currency)
        if pair is not None:
            pairs[pair] = Closes([row.date], [row.close])
    into = max(sorted(currencies), key=currencies.__getitem__, default="")
    day = max((closes.days[0] for closes in pairs.values()), default=date.min)
    found = {currency: Rates(pairs).at(currency, into, day) for currency in currencies}
    return lambda currency: found.get(currency) or 1.0


def store(connection: Connection, symbols: Sequence[str], weights: Sequence[float]) -> int:
    """Store the importance of instruments; returns how many have another one now."""
    lock_table(connection, instruments)
    new = side_by_side(symbol=(symbols, sa.Text), importance=(weights, sa.Double))
    change = sa.update(instruments).values(importance=new.c.importance)
    changed = instruments.c.importance.is_distinct_from(new.c.importance)
    return connection.execute(change.where(instruments.c.symbol == new.c.symbol, changed)).rowcount
