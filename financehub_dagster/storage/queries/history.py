"""What is stored already: spans, counts, known actions, and what lies around a range of sessions.

Belongs here: small questions about stored rows. Does not belong here: reading whole histories (bars) or judging them
(assets.checks).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import nan
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of, side_by_side
from financehub_dagster.storage.database.engine import Connection, raw_cursor
from financehub_dagster.storage.queries import days
from financehub_dagster.storage.queries.bars import fetch_packed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from sqlalchemy.sql.base import ReadOnlyColumnCollection


@dataclass(frozen=True, slots=True)
class Session:
    """What is stored of one session: close and adj_close (NaN: unknown), who sent it and when."""

    date: date
    close: float
    adj_close: float
    source: str
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is stored around a range of sessions: the nearest one on either side of it, the first and last ones in it.

    first is in date order, last backwards; each has at most EDGE sessions.
    """

    before: Session | None = None
    after: Session | None = None
    first: tuple[Session, ...] = ()
    last: tuple[Session, ...] = ()


EDGE = 3
"""Sessions looked at on either edge of a range: a vendor's answer may lack one."""

_SURROUNDINGS = """
    SELECT asked.symbol, near.place, near.date, near.close, near.adj_close, near.source, near.fetched_at
    FROM unnest(CAST(:symbols AS text[]), CAST(:starts AS date[]), CAST(:ends AS date[])) AS asked(symbol, start, stop)
    CROSS JOIN LATERAL (
        (SELECT 'before' AS place, rows.* FROM {table} AS rows
         WHERE rows.symbol = asked.symbol AND rows.date < asked.start ORDER BY rows.date DESC LIMIT 1)
        UNION ALL
        (SELECT 'after', rows.* FROM {table} AS rows
         WHERE rows.symbol = asked.symbol AND rows.date > asked.stop ORDER BY rows.date LIMIT 1)
        UNION ALL
        (SELECT 'first', rows.* FROM {table} AS rows
         WHERE rows.symbol = asked.symbol AND rows.date BETWEEN asked.start AND asked.stop
         ORDER BY rows.date LIMIT :edge)
        UNION ALL
        (SELECT 'last', rows.* FROM {table} AS rows
         WHERE rows.symbol = asked.symbol AND rows.date BETWEEN asked.start AND asked.stop
         ORDER BY rows.date DESC LIMIT :edge)
    ) AS near
"""


def surroundings(connection: Connection, table: str, spans: Mapping[str, tuple[date, date]]) -> dict[str, Surroundings]:
    """What is stored around each symbol's range of sessions, both ends included, by a few probes of the key each."""
    if not spans:
        return {}
    statement = sa.text(_SURROUNDINGS.format(table=schema.table(table).name))
    starts, ends = [span[0] for span in spans.values()], [span[1] for span in spans.values()]
    asked = {"symbols": list(spans), "starts": starts, "ends": ends, "edge": EDGE}
    found: dict[str, dict[str, list[Session]]] = {symbol: {} for symbol in spans}
    for symbol, place, day, close, adjusted, source, at in connection.execute(statement, asked):
        session = Session(day, close, nan if adjusted is None else adjusted, source, at)
        found[symbol].setdefault(place, []).append(session)
    return {
        symbol: Surroundings(
            next(iter(near.get("before", [])), None),
            next(iter(near.get("after", [])), None),
            tuple(sorted(near.get("first", []), key=lambda each: each.date)),
            tuple(sorted(near.get("last", []), key=lambda each: each.date, reverse=True)),
        )
        for symbol, near in found.items()
    }


def stored_actions(
    connection: Connection, symbol: str, first: date, last: date, source: str | None = None
) -> dict[tuple[date, str], float]:
    """The corporate actions of `symbol` from `first` to `last`, by date and kind; those that `source` sent, or all."""
    actions = schema.actions.c
    query = sa.select(actions.date, actions.kind, actions.value).where(
        actions.symbol == symbol, actions.date.between(first, last)
    )
    if source is not None:
        query = query.where(actions.source == source)
    return {(day, kind): value for day, kind, value in connection.execute(query)}


ACTION_DAYS = 30
"""Days around bars in which actions say something about them."""


_ACTIONS_AROUND = """
    SELECT action.symbol, action.date, action.kind, action.value
    FROM unnest(%(symbols)b::text[], %(starts)b::date[], %(ends)b::date[]) AS asked(symbol, start, stop)
    JOIN corporate_actions AS action ON action.symbol = asked.symbol
        AND action.date BETWEEN asked.start - %(days)s AND asked.stop + %(days)s
"""


def actions_around(connection: Connection, spans: Mapping[str, tuple[date, date]]) -> "pd.DataFrame":
    """symbol, date, kind and value of the actions of each symbol within its span or ACTION_DAYS of it."""
    import numpy as np
    import pandas as pd

    starts, ends = ([span[place] for span in spans.values()] for place in range(2))
    asked = {"symbols": list(spans), "starts": starts, "ends": ends, "days": ACTION_DAYS}
    with raw_cursor(connection, binary=True) as cursor:
        cursor.execute(_ACTIONS_AROUND, asked)
        symbol, day, kind, value = list(zip(*cursor.fetchall(), strict=True)) or [()] * 4
    columns = {"symbol": symbol, "date": np.array(day, "datetime64[s]"), "kind": kind, "value": np.array(value, float)}
    return pd.DataFrame(columns)


def rows_of(connection: Connection, table: str, symbol: str) -> "pd.DataFrame":
    """All rows of `symbol` in a table of bars, all columns, in date order."""
    import pandas as pd

    declared = schema.table(table)
    query = sa.select(declared).where(declared.c.symbol == symbol).order_by(declared.c.date)
    return pd.DataFrame(connection.execute(query).all(), columns=declared.columns.keys()).assign(
        date=lambda rows: pd.to_datetime(rows["date"]),
        adj_close=lambda rows: pd.to_numeric(rows["adj_close"]).astype("float64"),
    )


def dates_sent(
    connection: Connection, table: str, asked: Mapping[str, tuple[str, date, date]]
) -> "dict[str, NDArray[np.datetime64]]":
    """The stored sessions that a source sent, by symbol: `asked` says which source, from when and until when.

    In no order; symbols without any are left out.
    """
    columns = schema.table(table).c
    sources, starts, ends = ([each[place] for each in asked.values()] for place in range(3))
    wanted = side_by_side(
        symbol=(list(asked), sa.Text), source=(sources, sa.Text), start=(starts, sa.Date), stop=(ends, sa.Date)
    )
    same = sa.and_(columns.symbol == wanted.c.symbol, columns.source == wanted.c.source)
    within = columns.date.between(wanted.c.start, wanted.c.stop)
    return _packed_dates(connection, columns, wanted, sa.and_(same, within)) if asked else {}


def stored_spans(connection: Connection, table: str, symbols: Sequence[str]) -> dict[str, tuple[date, date]]:
    """The first and last stored session of each of `symbols` that has any, by two probes of the key per symbol."""
    columns = schema.table(table).c
    wanted = sa.func.unnest(sa.cast(list(symbols), sa.ARRAY(sa.Text))).column_valued("wanted")
    first, last = (
        sa.select(pick(columns.date)).where(columns.symbol == wanted).scalar_subquery()
        for pick in (sa.func.min, sa.func.max)
    )
    rows = connection.execute(sa.select(wanted, first, last))
    return {symbol: (earliest, latest) for symbol, earliest, latest in rows if earliest is not None}


def row_count(connection: Connection, table: str) -> int:
    """All rows of a table, counted: reads all of it."""
    return connection.execute(sa.select(sa.func.count()).select_from(schema.table(table))).scalar_one()


def row_counts(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """All rows of each of these tables: counted, or PostgreSQL's last estimate of a table with more than MANY."""
    counts = {name: estimate or 0 for name, estimate in estimates(connection, names).items()}
    few = [name for name in names if counts[name] <= MANY]
    if few:
        counted = (sa.select(sa.func.count()).select_from(schema.table(name)).scalar_subquery() for name in few)
        counts |= zip(few, connection.execute(sa.select(*counted)).one(), strict=True)
    return counts


MANY = 1_000_000
"""Rows that are counted in a tenth of a second."""


def estimates(connection: Connection, names: Sequence[str]) -> dict[str, int | None]:
    """About how many rows each table has, as PostgreSQL last counted or sampled it; None where it has not yet."""
    query = sa.text(
        "select name, cast(sum(reltuples) as bigint), bool_or(reltuples < 0) from unnest(cast(:names as text[])) name"
        " join pg_class on relkind = 'r' and oid in (select cast(name as regclass)"
        " union select relid from pg_partition_tree(cast(name as regclass))) group by name"
    )
    found = {
        name: None if unknown else rows for name, rows, unknown in connection.execute(query, {"names": list(names)})
    }
    return {name: found.get(name) for name in names}


def rows_by(
    unit: Literal["day", "month"], connection: Connection, table: str, start: date, end: date
) -> dict[str, int]:
    """Stored rows per partition key of a day or a month from `start` to `end`, for a table whose rows have a time."""
    declared = schema.table(table)
    column = days.require_time(declared)
    period = sa.cast(sa.func.date_trunc(unit, days.day_of(column)), sa.Date)
    query = sa.select(period, sa.func.count()).where(days.within(column, start, end)).group_by(period)
    if declared.primary_key.columns.keys()[:1] == ["symbol"] and not declared.indexes:
        # The only index of these tables is their key: with the symbols named, months cost their own rows.
        symbols = connection.execute(sa.select(schema.instruments.c.symbol)).scalars()
        query = query.where(declared.c.symbol == any_of(symbols))
    return {key.isoformat(): count for key, count in connection.execute(query)}


def first_fetched(connection: Connection, names: Sequence[str]) -> datetime | None:
    """When the oldest stored row of these tables was fetched; None when they are empty. Reads them whole."""
    oldest = [sa.select(sa.func.min(schema.table(name).c.fetched_at)) for name in names]
    found = connection.execute(sa.union_all(*oldest)).scalars()
    return min((time for time in found if time is not None), default=None)


def newest_time(connection: Connection, table: str) -> datetime | None:
    """The time of the newest stored row of a table that has an index on it."""
    column = days.require_time(schema.table(table))
    return connection.execute(sa.select(sa.func.max(column))).scalar()


def newest_times(connection: Connection, table: str, symbols: Sequence[str]) -> dict[str, datetime]:
    """The time of the newest stored row of each of `symbols` that has any, by one probe of the key per symbol."""
    declared = schema.table(table)
    wanted = sa.func.unnest(sa.cast(list(symbols), sa.ARRAY(sa.Text))).column_valued("wanted")
    newest = sa.select(sa.func.max(days.require_time(declared))).where(declared.c.symbol == wanted).scalar_subquery()
    return {symbol: time for symbol, time in connection.execute(sa.select(wanted, newest)) if time is not None}


def stored_dates(connection: Connection, table: str, since: Mapping[str, date]) -> "dict[str, NDArray[np.datetime64]]":
    """The stored sessions of each symbol from its date in `since` on, in no order; symbols without any are left out."""
    if not since:
        return {}
    columns = schema.table(table).c
    asked = side_by_side(symbol=(list(since), sa.Text), start=(list(since.values()), sa.Date))
    behind = sa.and_(columns.symbol == asked.c.symbol, columns.date >= asked.c.start)
    return _packed_dates(connection, columns, asked, behind)


def _packed_dates(
    connection: Connection,
    columns: "ReadOnlyColumnCollection[str, sa.Column[Any]]",
    asked: sa.FromClause,
    which: sa.ColumnElement[bool],
) -> "dict[str, NDArray[np.datetime64]]":
    """The dates of the rows that join `asked`, by symbol."""
    import numpy as np

    packed = sa.func.string_agg(
        sa.func.date_send(columns.date, type_=sa.LargeBinary), sa.cast(b"", sa.LargeBinary), type_=sa.LargeBinary
    )
    query = sa.select(columns.symbol, packed).join(asked, which).group_by(columns.symbol)
    epoch = np.datetime64("2000-01-01", "D")
    return {
        symbol: epoch + np.frombuffer(days, ">i4").astype("timedelta64[D]")
        for symbol, days in fetch_packed(connection, query)
    }


@dataclass(frozen=True, slots=True)
class Extent:
    """rows of a table, how many instruments they are of, and their first and last UTC day; None where it has none.

    sources counts the rows by the provider that answered.
    """

    rows: int
    symbols: int | None
    first: date | None
    last: date | None
    sources: dict[str, int]


def extent(connection: Connection, table: str) -> Extent:
    """The extent of the declared table of that name; reads all of it."""
    declared = schema.table(table)
    time = days.time_column(declared)
    asked: list[sa.ColumnElement[Any]] = [
        sa.func.count(),
        sa.func.count(sa.distinct(declared.c.symbol)) if "symbol" in declared.c else sa.null(),
        *((sa.null(),) * 2 if time is None else (sa.func.min(days.day_of(time)), sa.func.max(days.day_of(time)))),
    ]
    rows, symbols, first, last = connection.execute(sa.select(*asked).select_from(declared)).one()
    return Extent(rows, symbols, first, last, _sources(connection, declared))


def _sources(connection: Connection, table: sa.Table) -> dict[str, int]:
    if "source" not in table.c:
        return {}
    query = sa.select(table.c.source, sa.func.count()).group_by(table.c.source).order_by(sa.func.count().desc())
    return {str(source): count for source, count in connection.execute(query)}
