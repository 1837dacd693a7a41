"""Which vendor sent the rows that are stored.

Belongs here: questions about the `source` of stored rows. Does not belong here: which vendor's rows count for more.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of, side_by_side
from financehub_dagster.storage.database.engine import Connection

MOST = 60
"""Closes that are compared: a quarter of sessions tells whether two series are one."""


def spans_of_others(
    connection: Connection, table: str, first_choice: Mapping[str, str]
) -> dict[str, tuple[date, date]]:
    """The first and last row of each symbol that another vendor sent than the one `first_choice` names for it.

    Rows in whose place the first choice sent one that was rejected are left out: it has nothing better.
    """
    columns, rejected = schema.table(table).c, schema.rejected_rows.c
    wanted = _pairs(first_choice.items())
    refused = sa.exists().where(
        rejected.table_name == table,
        rejected.symbol == columns.symbol,
        rejected.date == columns.date,
        rejected.source == wanted.c.source,
    )
    query = (
        sa.select(columns.symbol, sa.func.min(columns.date), sa.func.max(columns.date))
        .join(wanted, columns.symbol == wanted.c.symbol)
        .where(columns.source != wanted.c.source, ~refused)
        .group_by(columns.symbol)
    )
    return {symbol: (first, last) for symbol, first, last in connection.execute(query)}


def keys_from(
    connection: Connection, table: str, sources: Mapping[str, Sequence[str]], first: date, last: date
) -> list[tuple[object, ...]]:
    """The keys of the rows from `first` to `last` that one of the vendors named for their symbol sent."""
    declared = schema.table(table)
    wanted = _pairs((symbol, source) for symbol, names in sources.items() for source in names)
    matches = sa.and_(declared.c.symbol == wanted.c.symbol, declared.c.source == wanted.c.source)
    query = sa.select(*declared.primary_key.columns).join(wanted, matches).where(declared.c.date.between(first, last))
    return [tuple(row) for row in connection.execute(query)]


def known_sessions(
    connection: Connection, table: str, symbol: str, days: Sequence[date], now: datetime
) -> dict[date, str | None]:
    """Of these sessions those of which nobody needs to be asked at `now`, and whose row is stored.

    None for a session that is not stored, but for which an empty answer is not due to be asked about again.
    """
    rows, answers = schema.table(table).c, schema.empty_answers.c
    asked = sa.any_(sa.cast(list(days), sa.ARRAY(sa.Date)))
    day = sa.func.unnest(sa.cast(list(days), sa.ARRAY(sa.Date))).column_valued("day")
    waiting = sa.select(day, sa.null().label("source")).where(
        answers.table_name == table,
        answers.symbol == symbol,
        answers.sessions.contains(day),
        sa.or_(answers.next_ask_at.is_(None), answers.next_ask_at > now),
    )
    stored = sa.select(rows.date, rows.source).where(rows.symbol == symbol, rows.date == asked)
    return {day: source for query in (waiting, stored) for day, source in connection.execute(query)}


def has_rows_before(connection: Connection, table: str, symbol: str, sources: Sequence[str], day: date) -> bool:
    """Is there a row of `symbol` before `day` that one of `sources` sent?"""
    columns = schema.table(table).c
    sent = columns.source == any_of(sources)
    return connection.execute(
        sa.select(sa.exists().where(columns.symbol == symbol, columns.date < day, sent))
    ).scalar_one()


def closes_around(
    connection: Connection, table: str, symbol: str, sources: Sequence[str], first: date, last: date
) -> dict[date, float]:
    """Closes of `symbol` that one of `sources` sent: the newest MOST of `first` to `last`, and their neighbours."""
    bars = schema.table(table).c
    sent = sa.select(bars.date, bars.close).where(bars.symbol == symbol, bars.source == any_of(sources))
    parts = (
        sent.where(bars.date.between(first, last)).order_by(bars.date.desc()).limit(MOST),
        sent.where(bars.date < first).order_by(bars.date.desc()).limit(1),
        sent.where(bars.date > last).order_by(bars.date).limit(1),
    )
    return {day: close for part in parts for day, close in connection.execute(part)}


def last_closes(connection: Connection, table: str, symbols: Sequence[str]) -> dict[str, tuple[date, float]]:
    """The newest stored session of each of `symbols` that has one, and its close."""
    bars = schema.table(table).c
    wanted = side_by_side(symbol=(list(symbols), sa.Text))
    newest = (
        sa.select(bars.date, bars.close)
        .where(bars.symbol == wanted.c.symbol)
        .order_by(bars.date.desc())
        .limit(1)
        .lateral()
    )
    query = sa.select(wanted.c.symbol, newest.c.date, newest.c.close).join_from(wanted, newest, sa.true())
    return {symbol: (day, close) for symbol, day, close in connection.execute(query)}


def actions_within(
    connection: Connection, reaches: Mapping[str, tuple[date, date]], without: Mapping[str, Sequence[str]]
) -> dict[str, dict[tuple[date, str], float]]:
    """The stored corporate actions of each symbol within its range, both ends included, by date and kind.

    Those of the vendors that `without` names for their symbol are left out.
    """
    if not reaches:
        return {}
    actions = schema.actions.c
    starts, ends = [reach[0] for reach in reaches.values()], [reach[1] for reach in reaches.values()]
    asked = side_by_side(symbol=(list(reaches), sa.Text), start=(starts, sa.Date), stop=(ends, sa.Date))
    within = sa.and_(actions.symbol == asked.c.symbol, actions.date.between(asked.c.start, asked.c.stop))
    query = sa.select(actions.symbol, actions.date, actions.kind, actions.value, actions.source).join(asked, within)
    found: dict[str, dict[tuple[date, str], float]] = {}
    for symbol, day, kind, value, source in connection.execute(query):
        if source not in without.get(symbol, ()):
            found.setdefault(symbol, {})[day, kind] = value
    return found


def _pairs(pairs: Iterable[tuple[str, str]]) -> sa.FromClause:
    """Symbols and sources side by side as rows."""
    listed = list(pairs)
    symbols, sources = [symbol for symbol, _ in listed], [source for _, source in listed]
    return side_by_side(symbol=(symbols, sa.Text), source=(sources, sa.Text))
