"""What the ledger is computed from, read for many instruments at once.

Belongs here: the questions, answered as masks (`market.coverage`). Does not belong here: what follows from the answers,
and writing (`ledger`). Imports numpy and calendars: import it inside functions.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market import calendars, coverage
from financehub_dagster.market.coverage import Facts, Masks, Months
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.dead_letters.dead_letters import LIVE
from financehub_dagster.storage.queries.bars import fetch_packed
from financehub_dagster.storage.queries.partition_keys import ends_of

EPOCH = np.datetime64("2000-01-01", "D")


def history(now: datetime) -> Months:
    """The months that are partitions at `now`: from FINANCEHUB_HISTORY_START to the running one."""
    return Months.spanning(get_settings().financehub_history_start, now.date())


def finished(instruments: Sequence[Instrument], months: Months, now: datetime) -> Masks:
    """The sessions that had finished at `now`, by each instrument's calendar; of unknown sessions none is expected."""
    calendar_of = [(each.exchange, each.asset_type is AssetType.FX) for each in instruments]
    by_calendar: dict[tuple[str, bool], Masks] = {}
    for key, instrument in zip(calendar_of, instruments, strict=True):
        if key not in by_calendar:
            by_calendar[key] = _finished(instrument, months, now)
    if not instruments:
        return np.zeros((0, months.count), np.int32)
    return np.stack([by_calendar[key] for key in calendar_of])


def _finished(instrument: Instrument, months: Months, now: datetime) -> Masks:
    end = min(months.last, now.date())
    if not months.count or end < months.first:
        return np.zeros(months.count, np.int32)
    days = calendars.known(instrument, months.first, end).dates
    return coverage.mask_row(days[calendars.finished(instrument, days, now)], months)


def facts(
    connection: Connection, table: str, symbols: Sequence[str], months: Months, expected: Masks, has: Masks
) -> Facts:
    """All that is known of `symbols` in `table`, given what is expected of it and what it has."""
    return Facts(
        expected,
        stored=has,
        empty=_confirmed_empty(connection, table, symbols, months),
        deferred=_covered(put_off(connection, table, symbols), symbols, months),
        dead=_covered(_dead_letters(connection, table, symbols), symbols, months),
    )


def stored(connection: Connection, table: str, symbols: Sequence[str], months: Months) -> Masks:
    """The dates of the rows of `table`."""
    return _dates(connection, schema.metadata.tables[table], symbols, months)


def answered_empty(connection: Connection, table: str, symbols: Sequence[str], months: Months) -> Masks:
    """The sessions that a vendor answered without a row at least once, confirmed or not."""
    answers = schema.empty_answers
    return _dates(connection, answers, symbols, months, answers.c.table_name == table)


def _confirmed_empty(connection: Connection, table: str, symbols: Sequence[str], months: Months) -> Masks:
    answers = schema.empty_answers
    confirmed = sa.and_(answers.c.table_name == table, answers.c.next_ask_at.is_(None))
    return _dates(connection, answers, symbols, months, confirmed)


def _dates(
    connection: Connection,
    source: sa.Table,
    symbols: Sequence[str],
    months: Months,
    among: sa.ColumnElement[bool] | None = None,
) -> Masks:
    """The dates of the rows of `source`, packed by the server into one value per instrument."""
    packed = sa.func.string_agg(
        sa.func.date_send(source.c.date, type_=sa.LargeBinary), sa.cast(b"", sa.LargeBinary), type_=sa.LargeBinary
    )
    query = (
        sa.select(source.c.symbol, packed)
        .where(source.c.symbol == any_of(symbols), source.c.date.between(months.first, months.last))
        .group_by(source.c.symbol)
    )
    if among is not None:
        query = query.where(among)
    found = fetch_packed(connection, query)
    place = {symbol: number for number, symbol in enumerate(symbols)}
    rows = np.repeat([place[symbol] for symbol, _ in found], [len(dates) // 4 for _, dates in found]).astype(np.intp)
    days = EPOCH + np.frombuffer(b"".join(dates for _, dates in found), ">i4").astype("timedelta64[D]")
    return coverage.masks_of(days, months, rows, len(symbols))


type Work = tuple[str, str, Mapping[str, Any]]
"""Work that waits: its partition key, its symbol (empty: the whole task), and what it was called with."""


def _dead_letters(connection: Connection, table: str, symbols: Sequence[str]) -> Iterable[Work]:
    rows = schema.task_failures.c
    return _work(connection, rows, rows.status.in_(LIVE), table, symbols)


def put_off(
    connection: Connection, table: str, symbols: Sequence[str], *, until: datetime | None = None
) -> Iterable[Work]:
    """The work on `symbols` that is put off, all of it or what is put off to `until` at most."""
    rows = schema.deferred_work.c
    return _work(connection, rows, sa.true() if until is None else rows.until <= until, table, symbols)


def _work(
    connection: Connection, rows: Any, among: sa.ColumnElement[bool], table: str, symbols: Sequence[str]
) -> Iterable[Work]:
    query = sa.select(rows.partition_key, rows.symbol, rows.kwargs).where(
        rows.task_name == table, among, sa.or_(rows.symbol == "", rows.symbol == any_of(symbols))
    )
    return [(key, symbol, kwargs) for key, symbol, kwargs in connection.execute(query)]


def _covered(work: Iterable[Work], symbols: Sequence[str], months: Months) -> Masks:
    """The days that pieces of work stand for: whole months of one instrument, of those named, or of all."""
    place = {symbol: number for number, symbol in enumerate(symbols)}
    masks = np.zeros((len(symbols), months.count), np.int32)
    for key, symbol, kwargs in work:
        span = months_of(key)
        if span is None:
            continue
        named = [symbol] if symbol else symbols_of(kwargs)
        rows = slice(None) if named is None else [place[name] for name in named if name in place]
        masks[rows, months.slice_of(*span)] = coverage.WHOLE_MONTH
    return masks


def months_of(partition_key: str) -> tuple[date, date] | None:
    """The first and last month of a partition or of a range `first...last`; None for what is neither."""
    first, last = ends_of(partition_key)
    try:
        return date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return None


def symbols_of(kwargs: Mapping[str, Any]) -> list[str] | None:
    """The instruments a task was limited to, whether recorded as its own arguments or as its run config."""
    config = kwargs.get("config")
    named = kwargs.get("symbols")
    if named is None and isinstance(config, Mapping):
        named = config.get("symbols")
    return named if isinstance(named, list) else None
