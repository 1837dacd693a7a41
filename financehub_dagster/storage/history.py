"""What is stored already: spans, counts and known splits.

Belongs here: small questions about stored rows. Does not belong here: reading whole histories (bars) or judging them
(audit).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from financehub_dagster.storage import days, tables
from financehub_dagster.storage.bars import fetch_packed
from financehub_dagster.storage.engine import Connection
from financehub_dagster.storage.parameters import side_by_side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def known_splits(connection: Connection, symbol: str) -> set[date]:
    """The dates of the splits of `symbol` that are stored."""
    actions = tables.corporate_actions.c
    query = sa.select(actions.date).where(actions.symbol == symbol, actions.kind == "split")
    return set(connection.execute(query).scalars())


def stored_spans(connection: Connection, table: str, symbols: Sequence[str]) -> dict[str, tuple[date, date]]:
    """The first and last stored session of each of `symbols` that has any, by two probes of the key per symbol."""
    columns = tables.metadata.tables[table].c
    wanted = sa.func.unnest(sa.cast(list(symbols), sa.ARRAY(sa.Text))).column_valued("wanted")
    first, last = (
        sa.select(pick(columns.date)).where(columns.symbol == wanted).scalar_subquery()
        for pick in (sa.func.min, sa.func.max)
    )
    rows = connection.execute(sa.select(wanted, first, last))
    return {symbol: (earliest, latest) for symbol, earliest, latest in rows if earliest is not None}


def row_count(connection: Connection, table: str) -> int:
    """All rows of a table."""
    return connection.execute(sa.select(sa.func.count()).select_from(tables.metadata.tables[table])).scalar_one()


def rows_by_month(connection: Connection, table: str, start: date, end: date) -> dict[str, int]:
    """Stored rows per monthly partition key from `start` to `end`, for a table whose rows have a time."""
    return _rows_by(connection, table, start, end, "month")


def rows_by_day(connection: Connection, table: str, start: date, end: date) -> dict[str, int]:
    """Stored rows per daily partition key from `start` to `end`, for a table whose rows have a time."""
    return _rows_by(connection, table, start, end, "day")


def _rows_by(connection: Connection, table: str, start: date, end: date, unit: str) -> dict[str, int]:
    column = days.require_time(tables.metadata.tables[table])
    period = sa.cast(sa.func.date_trunc(unit, days.day_of(column)), sa.Date)
    query = sa.select(period, sa.func.count()).where(days.within(column, start, end)).group_by(period)
    return {key.isoformat(): count for key, count in connection.execute(query)}


def first_fetched(connection: Connection, names: Sequence[str]) -> datetime | None:
    """When the oldest stored row of these tables was fetched; None when they are empty. Reads them whole."""
    oldest = [sa.select(sa.func.min(tables.metadata.tables[name].c.fetched_at)) for name in names]
    found = connection.execute(sa.union_all(*oldest)).scalars()
    return min((time for time in found if time is not None), default=None)


def newest_times(connection: Connection, table: str, symbols: Sequence[str]) -> dict[str, datetime]:
    """The time of the newest stored row of each of `symbols` that has any, by one probe of the key per symbol."""
    declared = tables.metadata.tables[table]
    wanted = sa.func.unnest(sa.cast(list(symbols), sa.ARRAY(sa.Text))).column_valued("wanted")
    newest = sa.select(sa.func.max(days.require_time(declared))).where(declared.c.symbol == wanted).scalar_subquery()
    return {symbol: time for symbol, time in connection.execute(sa.select(wanted, newest)) if time is not None}


def stored_dates(connection: Connection, table: str, since: Mapping[str, date]) -> "dict[str, NDArray[np.datetime64]]":
    """The stored sessions of each symbol from its date in `since` on, in no order; symbols without any are left out."""
    import numpy as np

    if not since:
        return {}
    columns = tables.metadata.tables[table].c
    asked = side_by_side(symbol=(list(since), sa.Text), start=(list(since.values()), sa.Date))
    packed = sa.func.string_agg(
        sa.func.date_send(columns.date, type_=sa.LargeBinary), sa.cast(b"", sa.LargeBinary), type_=sa.LargeBinary
    )
    behind = sa.and_(columns.symbol == asked.c.symbol, columns.date >= asked.c.start)
    query = sa.select(columns.symbol, packed).join(asked, behind).group_by(columns.symbol)
    epoch = np.datetime64("2000-01-01", "D")
    return {
        symbol: epoch + np.frombuffer(days, ">i4").astype("timedelta64[D]")
        for symbol, days in fetch_packed(connection, query)
    }
