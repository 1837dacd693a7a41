"""What asset checks read: stored rows as they are, and rows that should be there.

Belongs here: the questions of checks. Does not belong here: judging the answers. What a run's checks ask names its
instruments and days, so that the key (symbol, date) serves and the size of a table does not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of, side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import days
from financehub_dagster.storage.upsert.rejected_rows import SPLIT_NOT_APPLIED
from financehub_dagster.tables import period_of

if TYPE_CHECKING:
    import pandas as pd


def read_frame(
    connection: Connection, table: str, symbols: Sequence[str] | None, window: tuple[date, date] | None
) -> "pd.DataFrame":
    """All columns of the rows of `symbols` (None: of all) in `window`, both days included (None: of all days)."""
    import pandas as pd

    declared = schema.table(table)
    query = _between(sa.select(declared), declared, window)
    if symbols is not None:
        query = query.where(declared.c.symbol == any_of(symbols))
    return pd.read_sql_query(query, connection)


def read_page(connection: Connection, table: str, after: Sequence[object] | None, limit: int) -> "pd.DataFrame":
    """The next `limit` rows of a table in the order of its key, behind the key `after`; None: the first ones."""
    import pandas as pd

    declared = schema.table(table)
    key = list(declared.primary_key.columns)
    query = sa.select(declared).order_by(*key).limit(limit)
    if after is not None:
        last = (sa.literal(value, column.type) for column, value in zip(key, after, strict=True))
        query = query.where(sa.tuple_(*key) > sa.tuple_(*last))
    return pd.read_sql_query(query, connection)


def newest_rows(connection: Connection, table: str, symbols: Sequence[str] | None = None) -> "pd.DataFrame":
    """The newest row of each of `symbols` (None: of all), of a table with symbols and times, by one probe each."""
    import pandas as pd

    declared, known = schema.table(table), schema.instruments.c.symbol
    own = sa.select(declared).where(declared.c.symbol == known).order_by(days.require_time(declared).desc()).limit(1)
    newest = own.lateral("newest")
    query = sa.select(newest).select_from(schema.instruments).join(newest, sa.true()).order_by(newest.c.symbol)
    if symbols is not None:
        query = query.where(known == any_of(symbols))
    return pd.read_sql_query(query, connection)


def last_closes_before(connection: Connection, table: str, symbols: list[str], day: date) -> "pd.DataFrame":
    """symbol, date and close of the last row before `day` of each of `symbols`, by one probe of the key each."""
    import pandas as pd

    bars = schema.table(table).c
    wanted = side_by_side(symbol=(symbols, sa.Text)).alias("wanted")
    own = sa.select(bars.symbol, bars.date, bars.close).where(bars.symbol == wanted.c.symbol, bars.date < day)
    last = own.order_by(bars.date.desc()).limit(1).lateral("last")
    return pd.read_sql_query(
        sa.select(last).select_from(wanted).join(last, sa.true()), connection, parse_dates=["date"]
    )


def splits(
    connection: Connection, symbols: Sequence[str], since: date | None = None, until: date | None = None
) -> "pd.DataFrame":
    """symbol, date and value of the splits of `symbols` from `since` to `until`, both included and both optional."""
    import pandas as pd

    actions = schema.actions.c
    query = sa.select(actions.symbol, actions.date, actions.value).where(
        actions.symbol == any_of(symbols),
        actions.kind == "split",
        *(() if since is None else (actions.date >= since,)),
        *(() if until is None else (actions.date <= until,)),
    )
    return pd.read_sql_query(query, connection, parse_dates=["date"]).astype({"date": "datetime64[s]"})


def splits_not_applied(
    connection: Connection, symbols: Sequence[str], since: date | None = None, until: date | None = None
) -> "pd.DataFrame":
    """symbol, date, close, previous_date, previous_close and ratio of splits that vendors' prices do not take out.

    Of `symbols` from `since` to `until`, both included and both optional; closes as the vendor serves them: the stored
    ones have the split taken out.
    """
    import pandas as pd

    rejected = schema.rejected_rows.c
    query = sa.select(rejected.symbol, rejected.date, rejected.row).where(
        rejected.table_name == schema.actions.name,
        rejected.rule == SPLIT_NOT_APPLIED,
        rejected.symbol == any_of(symbols),
        *(() if since is None else (rejected.date >= since,)),
        *(() if until is None else (rejected.date <= until,)),
    )
    found = connection.execute(query.order_by(rejected.symbol, rejected.date))
    names = ("close", "previous_date", "previous_close", "ratio")
    return pd.DataFrame(
        [(symbol, day, *(row[name] for name in names)) for symbol, day, row in found],
        columns=["symbol", "date", *names],
    )


def _between[Q: sa.Select[Any]](query: Q, table: sa.Table, window: tuple[date, date] | None) -> Q:
    time = days.time_column(table)
    return query if time is None or window is None else query.where(days.within(time, *window))


@dataclass(frozen=True, slots=True)
class BarsWithoutRows:
    """Of so many bars, so many have no row in a table computed from them; first: symbol and date of the first."""

    bars: int
    lacking: int
    first: list[tuple[str, date]]


def bars_without_rows(
    connection: Connection,
    table: str,
    name: str,
    symbols: Sequence[str],
    window: tuple[date, date] | None,
    limit: int,
) -> BarsWithoutRows:
    """Of the bars in `table` of `symbols` in `window` (None: of all days): which have no row in the table `name`."""
    from financehub_dagster.market.derived import REACH

    declared, computed = schema.table(table), schema.table(name).c
    bars, reach = declared.c, REACH[period_of(name)].days
    time, row = days.require_time(declared), days.require_time(schema.table(name))
    asked = _between(sa.select(bars.symbol, time).where(bars.symbol == any_of(symbols)), declared, window)
    period = row == time if not reach else row.between(time - reach, time)
    there = sa.exists().where(computed.symbol == bars.symbol, period)
    total, lacking = (
        connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
        for query in (asked, asked.where(~there))
    )
    if not lacking:
        return BarsWithoutRows(total, 0, [])
    first = connection.execute(asked.where(~there).order_by(bars.symbol, time).limit(limit))
    return BarsWithoutRows(total, lacking, [(symbol, day) for symbol, day in first])


def recent_rows(connection: Connection, table: str, symbol: str, end: date, limit: int) -> "pd.DataFrame":
    """The last `limit` rows of `symbol` up to `end`, in date order, indexed by date."""
    import pandas as pd

    declared = schema.table(table)
    newest = (
        sa.select(declared)
        .where(declared.c.symbol == symbol, declared.c.date <= end)
        .order_by(declared.c.date.desc())
        .limit(limit)
    )
    return pd.read_sql_query(newest, connection, index_col="date", parse_dates=["date"]).sort_index()
