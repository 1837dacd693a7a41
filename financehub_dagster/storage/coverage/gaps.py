"""What the ledger tells people: counts by state, who lacks most, and how much of each month is there.

Belongs here: reading `coverage`. Does not belong here: keeping it (`ledger`), or doing something about it
(`backfill_planner`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables.catalog import LEDGER_TABLES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def sessions_by_state(connection: Connection, symbols: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
    """How many sessions of each table of the ledger are in each state, `expected` being all of them."""
    found: dict[str, dict[str, int]] = {table: dict.fromkeys(_STATES, 0) for table in LEDGER_TABLES}
    for table, *counts in connection.execute(_COUNTS, {"symbols": None if symbols is None else list(symbols)}):
        found[table] = dict(zip(_STATES, counts, strict=True))
    return found


_STATES = ("expected", "stored", "empty", "gap", "dead_lettered", "deferred")
_COUNTS = sa.text("""
    SELECT table_name, sum(expected), sum(stored), sum(cardinality(empty)), sum(cardinality(gap)),
        sum(cardinality(dead_lettered)), sum(cardinality(deferred))
    FROM coverage WHERE CAST(:symbols AS text[]) IS NULL OR symbol = ANY(CAST(:symbols AS text[]))
    GROUP BY table_name
""")


def open_gaps(
    connection: Connection, limit: int, *, table: str | None = None, symbols: Sequence[str] | None = None
) -> list[Mapping[str, object]]:
    """The instruments that lack most, each with what it lacks, its first and last gap, and its worst month."""
    asked = {"table": table, "symbols": None if symbols is None else list(symbols), "limit": limit}
    return [dict(row) for row in connection.execute(_OPEN, asked).mappings()]


_OPEN = sa.text("""
    SELECT table_name AS "table", symbol, sum(cardinality(gap)) AS gap,
        sum(cardinality(dead_lettered)) AS dead_lettered, sum(cardinality(deferred)) AS deferred,
        min(month) AS first_month, max(month) AS last_month,
        (array_agg(month ORDER BY expected - stored - cardinality(empty) DESC, month DESC))[1] AS worst_month
    FROM coverage
    WHERE expected > stored + cardinality(empty)
        AND (CAST(:table AS text) IS NULL OR table_name = :table)
        AND (CAST(:symbols AS text[]) IS NULL OR symbol = ANY(CAST(:symbols AS text[])))
    GROUP BY table_name, symbol
    ORDER BY sum(expected - stored - cardinality(empty)) DESC, table_name, symbol
    LIMIT :limit
""")


@dataclass(frozen=True)
class Shares:
    """How much of each month is stored, and how much is accounted for: of shape (symbols, months), from 0 to 1.

    shares counts what is stored or confirmed empty, stored the former alone; both are NaN where nothing is expected.
    months are the first days, in order and without a hole; symbols stand in the order of their importance.
    """

    symbols: list[str]
    months: list[date]
    shares: "NDArray[np.float64]"
    stored: "NDArray[np.float64]"


def shares_by_month(connection: Connection, table_names: Sequence[str]) -> Shares:
    """What is stored, or confirmed to be empty, of all that is expected of these tables together."""
    import numpy as np

    from financehub_dagster.market.coverage import Months

    rows = connection.execute(_SHARES, {"tables": list(table_names)}).all()
    if not rows:
        return Shares([], [], np.zeros((0, 0)), np.zeros((0, 0)))
    order = list_instruments(connection)
    named = {row.symbol for row in rows}
    symbols = [instrument.symbol for instrument in order if instrument.symbol in named]
    months = Months.spanning(min(row.month for row in rows), max(row.month for row in rows))
    shares, stored = (np.full((len(symbols), months.count), np.nan) for _ in range(2))
    place = {symbol: number for number, symbol in enumerate(symbols)}
    for symbol, month, share, there in rows:
        if symbol in place:
            shares[place[symbol], months.slice_of(month, month)] = share
            stored[place[symbol], months.slice_of(month, month)] = there
    return Shares(symbols, months.starts.tolist(), shares, stored)


_SHARES = sa.text("""
    SELECT symbol, month, CAST(sum(stored + cardinality(empty)) AS float8) / sum(expected) AS share,
           CAST(sum(stored) AS float8) / sum(expected) AS stored
    FROM coverage WHERE table_name = ANY(CAST(:tables AS text[])) GROUP BY symbol, month
""")
