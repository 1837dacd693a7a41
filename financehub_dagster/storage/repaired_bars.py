"""`repaired_bars`: daily bars with their repairs, of the rows that have one or are moved by one.

Belongs here: which instruments a write may have changed repairs of, and keeping what follows from all that is stored of
them. Does not belong here: the arithmetic (market.quality.repairs), the views people read (`database.repaired_views`).

A repair moves bars before it, and looks at a few after it. An instrument is repaired anew, its whole history, only when
what is written has a flag that can be repaired, or may change one of the bars that a kept repair looked at. That
happens in the transaction that writes the bars, under the lock of their table.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from itertools import batched
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of, side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.repaired_views import tables
from financehub_dagster.storage.queries import history, neighbours

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 50
"""Instruments that are repaired together: 20 years of them are 15 MB."""
_ALL = 2**31 - 1
_REACHED = """
    SELECT asked.symbol FROM unnest(CAST(:symbols AS text[]), CAST(:starts AS date[])) AS asked(symbol, start)
    CROSS JOIN LATERAL (
        SELECT max(date) AS last FROM repaired_bars WHERE table_name = :table AND symbol = asked.symbol
    ) AS kept WHERE kept.last IS NOT NULL AND :bars > (SELECT count(*) FROM (
        SELECT FROM {table} AS t WHERE t.symbol = asked.symbol AND t.date > kept.last AND t.date < asked.start
        LIMIT :bars
    ) AS between_them)
"""
"""The instruments with a kept bar fewer than so many stored bars before the day asked about."""


def refresh(
    connection: Connection, table: str, flagged: Mapping[str, Iterable[str]], starts: Mapping[str, date]
) -> None:
    """Bring the repaired bars to what is stored, after bars were written or taken back.

    flagged: the flags that each instrument's written bars have. starts: each one's first session that may have changed.
    """
    from financehub_dagster.market.quality import repairs
    from financehub_dagster.market.quality.doubts import UNIT_BARS

    own = {symbol for symbol, flags in flagged.items() if not repairs.RULES.isdisjoint(flags)}
    query = sa.text(_REACHED.format(table=schema.table(table).name))
    asked = {"table": table, "symbols": list(starts), "starts": list(starts.values()), "bars": UNIT_BARS}
    reached = connection.execute(query, asked).scalars()
    _repair(connection, table, sorted(own.union(reached)))


def repair_stored(connection: Connection) -> None:
    """Repair all that is stored: of a database whose bars were written before repairs were kept."""
    for table in tables(schema.metadata):
        flagged = sa.select(table.c.symbol).where(_can_be_repaired(table)).distinct()
        _repair(connection, table.name, sorted(connection.execute(flagged).scalars()))


def _repair(connection: Connection, table: str, symbols: Sequence[str]) -> None:
    for some in batched(symbols, AT_ONCE):
        _replace(connection, table, some, _repaired(connection, table, some))


def _repaired(connection: Connection, table: str, symbols: Sequence[str]) -> "pd.DataFrame":
    """symbol, date and DAILY_VALUES of the bars that can be repaired or are moved by a repair."""
    import numpy as np
    import pandas as pd

    from financehub_dagster.market.quality import doubts, repairs, series_arrays

    names: pd.Index[Any] = pd.Index(np.array(symbols, object))
    bars = neighbours.bars_around(connection, table, dict.fromkeys(symbols, (date.max, date.max)), _ALL, 0)
    actions = history.actions_around(connection, dict.fromkeys(symbols, (date.min, date.max)))
    series = series_arrays.arrange_arrays(names, bars.place, bars.date, bars.columns, actions)
    bits = np.zeros(len(series), np.uint32)
    for symbol, day, flags in _flagged(connection, table, symbols):
        start, end = np.searchsorted(series.code, symbols.index(symbol) + np.arange(2))
        bits[start + np.searchsorted(series.date[start:end], np.datetime64(day))] = doubts.bits_of(flags)
    found = repairs.repair(series, bits)
    kept = found.changed | (bits & np.uint32(doubts.bits_of(repairs.RULES)) > 0)
    rows = {"symbol": names[series.code[kept]], "date": series.date[kept].astype("datetime64[s]")}
    return pd.DataFrame({**rows, **{name: found.columns[name][kept] for name in DAILY_VALUES}})


def _flagged(connection: Connection, table: str, symbols: Collection[str]) -> list[tuple[str, date, list[str]]]:
    """Symbol, session and flags of the stored bars that can be repaired."""
    bars = schema.table(table)
    query = sa.select(bars.c.symbol, bars.c.date, bars.c.flags)
    found = connection.execute(query.where(bars.c.symbol == any_of(symbols), _can_be_repaired(bars)))
    return [(row.symbol, row.date, row.flags) for row in found]


def _can_be_repaired(bars: sa.Table) -> sa.ColumnElement[bool]:
    from financehub_dagster.market.quality import repairs

    can_be: sa.ColumnElement[bool] = bars.c.flags.overlap(sa.cast(sorted(repairs.RULES), bars.c.flags.type))
    return can_be


def _replace(connection: Connection, table: str, symbols: Collection[str], rows: "pd.DataFrame") -> None:
    """Keep `rows` in place of all repaired bars of `symbols`."""
    kept = schema.repaired_bars
    connection.execute(sa.delete(kept).where(kept.c.table_name == table, kept.c.symbol == any_of(symbols)))
    if not len(rows):
        return
    values = {name: rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in DAILY_VALUES}
    columns = side_by_side(
        symbol=(rows["symbol"].tolist(), sa.Text),
        date=(rows["date"].dt.date.tolist(), sa.Date),
        **{name: (own, sa.Double) for name, own in values.items()},
    )
    own = {"table_name": sa.literal(table), **{column.name: column for column in columns.c}}
    connection.execute(sa.insert(kept).from_select(list(own), sa.select(*own.values())))
