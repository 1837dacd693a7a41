"""All that is stored about one row: the row, what it replaced, what was refused for it, and its state in the ledger.

Belongs here: those questions, one row at a time. Does not belong here: combining the answers (`serving.explain`).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from financehub_dagster.market.bar_arrays import DAILY_VALUES
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection

type Row = dict[str, Any]


def row_of(connection: Connection, table: str, symbol: str, day: date) -> Row | None:
    """The row of a table with a row per symbol and date; None if there is none."""
    rows = schema.table(table)
    query = sa.select(rows).where(rows.c.symbol == symbol, rows.c.date == day)
    found = connection.execute(query).mappings().first()
    return None if found is None else dict(found)


def row_made_of(connection: Connection, table: str, symbol: str, session: date) -> Row | None:
    """The row that is made of a session and stands under the trade date after it; None if there is none."""
    rows = schema.table(table)
    query = sa.select(rows).where(rows.c.symbol == symbol, rows.c.date > session, rows.c.session == session)
    found = connection.execute(query.order_by(rows.c.date).limit(1)).mappings().first()
    return None if found is None else dict(found)


def stamp_of(connection: Connection, table: str, symbol: str, day: date) -> datetime | None:
    """When the row of a symbol and a day was made."""
    rows = schema.table(table).c
    stamp = next(column for column in rows if column.info.get("stamp"))
    found: datetime | None = connection.execute(
        sa.select(stamp).where(rows.symbol == symbol, rows.date == day)
    ).scalar()
    return found


def discrepancies_of(connection: Connection, table: str, symbol: str, day: date) -> list[Row]:
    """What other vendors have otherwise than it is stored, as last compared: one row per column and vendor."""
    kept = schema.discrepancies.c
    wanted = (kept.column_name, kept.vendor, kept.told, kept.source, kept.stored, kept.kind, kept.off, kept.compared_at)
    query = sa.select(*wanted).where(kept.table_name == table, kept.symbol == symbol, kept.date == day)
    return [dict(found) for found in connection.execute(query.order_by(kept.vendor, kept.column_name)).mappings()]


def repaired_bar(connection: Connection, table: str, symbol: str, day: date) -> Row:
    """What repairs change of a bar, as it is after them; empty where none concerns it."""
    kept = schema.repaired_bars.c
    own = sa.select(*(kept[name] for name in DAILY_VALUES))
    found = connection.execute(own.where(kept.table_name == table, kept.symbol == symbol, kept.date == day)).mappings()
    return dict(found.first() or {})


def revisions_of(connection: Connection, table: str, symbol: str, day: date) -> list[Row]:
    """The earlier values of a row in the order in which they were replaced or withdrawn."""
    kept = schema.price_revisions.c
    query = (
        sa.select(kept.old, kept.replaced_at, kept.run_id, kept.withdrawn_by)
        .where(kept.table_name == table, kept.symbol == symbol, kept.date == day)
        .order_by(kept.id)
    )
    return [dict(found) for found in connection.execute(query).mappings()]


def rejected_of(connection: Connection, tables: Sequence[str], symbol: str, day: date) -> list[Row]:
    """The rows that vendors sent for a day and that were refused, by table, rule and vendor."""
    refused = schema.rejected_rows.c
    query = (
        sa.select(refused.table_name, refused.rule, refused.source, refused.row, refused.rejected_at, refused.run_id)
        .where(refused.table_name == any_of(tables), refused.symbol == symbol, refused.date == day)
        .order_by(refused.rejected_at, refused.id)
    )
    return [dict(found) for found in connection.execute(query).mappings()]


def actions_since(connection: Connection, symbol: str, day: date) -> list[Row]:
    """The corporate actions with an ex-date on `day` or later, in order; later ones adjust the prices of the day."""
    actions = schema.actions.c
    query = (
        sa.select(actions.date, actions.kind, actions.value, actions.source, actions.fetched_at)
        .where(actions.symbol == symbol, actions.date >= day)
        .order_by(actions.date, actions.kind)
    )
    return [dict(found) for found in connection.execute(query).mappings()]


_STATE = sa.text("""
    SELECT first, through, settled_at, CASE
        WHEN :day < first THEN 'before'
        WHEN :day > through THEN 'after'
        WHEN CAST(:day AS date) <@ empty THEN 'empty'
        WHEN CAST(:day AS date) <@ gap THEN 'gap'
        WHEN CAST(:day AS date) <@ dead_lettered THEN 'dead_lettered'
        WHEN CAST(:day AS date) <@ deferred THEN 'deferred'
        ELSE 'settled' END AS state
    FROM coverage WHERE table_name = :table AND symbol = :symbol
""")


def ledger_of(connection: Connection, table: str, symbol: str, day: date) -> Row | None:
    """What the ledger says of a session, and since when and until when it is settled; None if it has no such row."""
    asked = {"table": table, "symbol": symbol, "day": day}
    found = connection.execute(_STATE, asked).mappings().first()
    return None if found is None else dict(found)


def empty_responses_of(connection: Connection, table: str, symbol: str, day: date) -> list[Row]:
    """The vendors that had nothing for a session, how often they were asked, and when the next request is due."""
    empty = schema.empty_answers.c
    query = sa.select(empty.provider, empty.asked, empty.last_asked_at, empty.next_ask_at).where(
        empty.table_name == table, empty.symbol == symbol, empty.sessions.contains(sa.cast(day, sa.Date))
    )
    return [dict(found) for found in connection.execute(query).mappings()]


def stale_since(connection: Connection, table: str, symbol: str) -> date | None:
    """The first session whose row in a computed table waits to be computed again; None if none does."""
    marks = schema.dirty_marks.c
    query = sa.select(marks.dirty_from).where(marks.table_name == table, marks.symbol == symbol)
    found: date | None = connection.execute(query).scalar()
    return found


def extent_until(
    connection: Connection, table: str, symbol: str, day: date
) -> tuple[date | None, int, datetime | None]:
    """The first stored day of a symbol, the rows until `day`, and the newest stamp among them."""
    rows = schema.table(table).c
    stamp = next(column for column in rows if column.info.get("stamp"))
    query = sa.select(sa.func.min(rows.date), sa.func.count(), sa.func.max(stamp))
    first, count, newest = connection.execute(query.where(rows.symbol == symbol, rows.date <= day)).one()
    return first, count, newest


def last_values(
    connection: Connection, table: str, columns: Sequence[str], symbol: str, day: date, limit: int
) -> list[Mapping[str, Any]]:
    """The newest rows of a symbol until `day`, oldest first: date and `columns`."""
    rows = schema.table(table).c
    wanted = [rows.date, *(rows[name] for name in columns)]
    query = sa.select(*wanted).where(rows.symbol == symbol, rows.date <= day).order_by(rows.date.desc()).limit(limit)
    return [dict(found) for found in reversed(connection.execute(query).mappings().all())]
