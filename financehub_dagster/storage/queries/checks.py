"""What asset checks read: stored rows as they are, and rows that should be there.

Belongs here: the questions of checks. Does not belong here: judging the answers.
"""

from datetime import date
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import days
from financehub_dagster.storage.upsert.rejected_rows import SPLIT_NOT_APPLIED

if TYPE_CHECKING:
    import pandas as pd


def read_frame(
    connection: Connection, table: str, start: date | None = None, end: date | None = None
) -> "pd.DataFrame":
    """All columns of a table, one row per stored row, from `start` to `end` where its rows have a time."""
    import pandas as pd

    declared = schema.metadata.tables[table]
    return pd.read_sql_query(_between(sa.select(declared), declared, start, end), connection)


def duplicates(
    connection: Connection, table: str, start: date | None = None, end: date | None = None
) -> list[dict[str, object]]:
    """Keys of a table under which more than one row stands, with their number; empty while the key is in force."""
    declared = schema.metadata.tables[table]
    key, times = list(declared.primary_key.columns), sa.func.count().label("rows")
    query = sa.select(*key, times).group_by(*key).having(times > 1).order_by(*key)
    return [dict(row) for row in connection.execute(_between(query, declared, start, end)).mappings()]


def newest_rows(connection: Connection, table: str) -> "pd.DataFrame":
    """The newest row of each instrument, of a table with symbols and times, by one probe of the key each."""
    import pandas as pd

    declared, symbols = schema.metadata.tables[table], schema.instruments.c.symbol
    own = sa.select(declared).where(declared.c.symbol == symbols).order_by(days.require_time(declared).desc()).limit(1)
    newest = own.lateral("newest")
    query = sa.select(newest).select_from(schema.instruments).join(newest, sa.true()).order_by(newest.c.symbol)
    return pd.read_sql_query(query, connection)


def last_closes_before(connection: Connection, table: str, symbols: list[str], day: date) -> "pd.DataFrame":
    """symbol, date and close of the last row before `day` of each of `symbols`, by one probe of the key each."""
    import pandas as pd

    bars = schema.metadata.tables[table].c
    wanted = side_by_side(symbol=(symbols, sa.Text)).alias("wanted")
    own = sa.select(bars.symbol, bars.date, bars.close).where(bars.symbol == wanted.c.symbol, bars.date < day)
    last = own.order_by(bars.date.desc()).limit(1).lateral("last")
    return pd.read_sql_query(
        sa.select(last).select_from(wanted).join(last, sa.true()), connection, parse_dates=["date"]
    )


def splits(connection: Connection, start: date | None = None, end: date | None = None) -> "pd.DataFrame":
    """symbol, date and value of the splits from `start` to `end`, or of all."""
    import pandas as pd

    actions = schema.corporate_actions
    query = sa.select(actions.c.symbol, actions.c.date, actions.c.value).where(actions.c.kind == "split")
    found = pd.read_sql_query(_between(query, actions, start, end), connection, parse_dates=["date"])
    return found.astype({"date": "datetime64[s]"})


def splits_not_applied(connection: Connection, start: date | None = None, end: date | None = None) -> "pd.DataFrame":
    """symbol, date, close, previous_date, previous_close and ratio of splits that vendors' prices do not take out.

    From `start` to `end`, or all; closes as the vendor serves them: the stored ones have the split taken out.
    """
    import pandas as pd

    rejected = schema.rejected_rows
    query = sa.select(rejected.c.symbol, rejected.c.date, rejected.c.row).where(
        rejected.c.table_name == schema.corporate_actions.name, rejected.c.rule == SPLIT_NOT_APPLIED
    )
    found = connection.execute(_between(query, rejected, start, end).order_by(rejected.c.symbol, rejected.c.date))
    names = ("close", "previous_date", "previous_close", "ratio")
    return pd.DataFrame(
        [(symbol, day, *(row[name] for name in names)) for symbol, day, row in found],
        columns=["symbol", "date", *names],
    )


def _between[Q: sa.Select[Any]](query: Q, table: sa.Table, start: date | None, end: date | None) -> Q:
    time = days.time_column(table)
    return query if time is None or start is None or end is None else query.where(days.within(time, start, end))


def bars_without_indicators(connection: Connection, table: str, limit: int) -> tuple[int, list[tuple[str, date]]]:
    """How many bars of `table` have no row in indicators_daily, and the first `limit` of them."""
    bars, computed = schema.metadata.tables[table].c, schema.indicators_daily.c
    there = sa.exists().where(computed.symbol == bars.symbol, computed.date == bars.date)
    lacking = sa.select(bars.symbol, bars.date).where(~there)
    count = connection.execute(sa.select(sa.func.count()).select_from(lacking.subquery())).scalar_one()
    first = connection.execute(lacking.order_by(bars.symbol, bars.date).limit(limit))
    return count, [(symbol, day) for symbol, day in first]


def recent_rows(connection: Connection, table: str, symbol: str, end: date, limit: int) -> "pd.DataFrame":
    """The last `limit` rows of `symbol` up to `end`, in date order, indexed by date."""
    import pandas as pd

    declared = schema.metadata.tables[table]
    newest = (
        sa.select(declared)
        .where(declared.c.symbol == symbol, declared.c.date <= end)
        .order_by(declared.c.date.desc())
        .limit(limit)
    )
    return pd.read_sql_query(newest, connection, index_col="date", parse_dates=["date"]).sort_index()
