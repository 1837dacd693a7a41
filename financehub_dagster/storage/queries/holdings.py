"""`holdings`: storing lots, and positions as they are now, splits applied and valued at stored closes.

Belongs here: these statements. Does not belong here: files (market.holdings), reports.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import sqlalchemy as sa

from financehub_dagster.market.holdings import Lot
from financehub_dagster.storage.database.array_parameters import any_of, insert_rows
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import UnknownInstruments
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import holdings as table
from financehub_dagster.storage.database.schema import instruments
from financehub_dagster.storage.queries.given_up import given_up, replaced
from financehub_dagster.tables import ACTIONS, BARS_OF


@dataclass(frozen=True)
class Position:
    """A lot as it is now: quantity and cost after all splits since; close and its session None where none is stored."""

    account: str
    symbol: str
    opened_on: date
    quantity: float
    cost: float
    currency: str
    close: float | None
    session: date | None

    @property
    def value(self) -> float | None:
        """Quantity at the close, in `currency`."""
        return None if self.close is None else self.quantity * self.close

    @property
    def profit(self) -> float | None:
        """What it has gained since it was opened, dividends left out, in `currency`."""
        return None if self.close is None else self.quantity * (self.close - self.cost)


_OWN_CLOSES = (
    f"(select date, close from {name} where symbol = h.symbol order by date desc limit 1)" for name in BARS_OF
)
_POSITIONS = sa.text(f"""
    select h.account, h.symbol, h.opened_on, h.quantity, h.cost, i.currency, c.close, c.date as session,
        array(
            select a.value from {ACTIONS} a
            where a.symbol = h.symbol and a.kind = 'split' and a.date > h.opened_on order by a.date
        ) as splits
    from holdings h join instruments i using (symbol)
    left join lateral (
        select date, close from ({" union all ".join(_OWN_CLOSES)}) b order by date desc limit 1
    ) c on true
    order by h.account, h.symbol, h.opened_on
""")


def replace_lots(connection: Connection, lots: Sequence[Lot]) -> int:
    """Store `lots` as all that their accounts hold; returns how many lots there were before.

    Raises UnknownInstruments, and changes nothing, for symbols that no instrument has.
    """
    lock_table(connection, table)
    now = replaced(given_up(connection), {lot.symbol for lot in lots})
    lots = [replace(lot, symbol=now[lot.symbol].symbol) if lot.symbol in now else lot for lot in lots]
    symbols = sorted({lot.symbol for lot in lots})
    known = set(
        connection.execute(sa.select(instruments.c.symbol).where(instruments.c.symbol == any_of(symbols))).scalars()
    )
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown:
        raise UnknownInstruments(unknown)
    accounts = sorted({lot.account for lot in lots})
    gone = connection.execute(sa.delete(table).where(table.c.account == any_of(accounts))).rowcount
    if lots:
        connection.execute(insert_rows(table, [asdict(lot) for lot in lots]))
    return gone


def positions(connection: Connection) -> list[Position]:
    """Every lot as it is now, by account, symbol and day."""
    return [_position(dict(row)) for row in connection.execute(_POSITIONS).mappings()]


def _position(row: dict[str, Any]) -> Position:
    """With the splits applied: multiplied, because logarithms added up make 69.99… units of ten after 7 for 1."""
    ratio = math.prod(row.pop("splits"))
    return Position(**row | {"quantity": row["quantity"] * ratio, "cost": row["cost"] / ratio})


def accounts(connection: Connection) -> list[str]:
    """The accounts that hold something."""
    return list(connection.execute(sa.select(table.c.account).distinct().order_by(table.c.account)).scalars())
