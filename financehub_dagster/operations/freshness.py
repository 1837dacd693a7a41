"""How fresh the tables are, counted in the sessions of each exchange: a holiday is not late.

Belongs here: when rows are due. Does not belong here: the bounds (tables), and what happens when rows are late (sla).
Imports exchange_calendars, which takes a second: only where freshness is measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from financehub_dagster.market import calendars
from financehub_dagster.market.calendar_source import Instants
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.operations.freshness import Freshness, NewestRow, newest_rows
from financehub_dagster.tables import TABLES, kinds_of
from financehub_dagster.tables.declaration import Due

WEEK = timedelta(days=14)
"""Further ahead than this no session is looked for: the longest holidays take a week."""


@dataclass(frozen=True)
class LateBound:
    """How late rows of a table may be, of these kinds of instruments; time is the column that places a row in time."""

    table: str
    kinds: tuple[str, ...]
    due: Due
    late: timedelta
    time: str


def late_bounds() -> Iterator[LateBound]:
    """The bounds on lateness of all tables whose rows have a time."""
    for table in TABLES.values():
        if table.time is not None:
            for each in table.lateness:
                yield LateBound(table.name, each.kinds or kinds_of(table.name), each.due, each.bound, table.time)


def measure(connection: Connection, now: datetime) -> list[Freshness]:
    """The freshness of every table and market with active instruments at `now` (aware)."""
    found: dict[tuple[str, str], Freshness] = {}
    for bound in late_bounds():
        rows = newest_rows(connection, bound.table, bound.time, bound.kinds)
        for fresh in (each for row in rows for each in _of(bound, row, now)):
            worst = found.setdefault((fresh.table, fresh.subject), fresh)
            if fresh.late > worst.late:
                found[fresh.table, fresh.subject] = fresh
    return list(found.values())


def _of(bound: LateBound, row: NewestRow, now: datetime) -> Iterator[Freshness]:
    if row.at is None and bound.due == "always":
        return  # nothing was ever fetched: its vendors may be disabled
    market = Instrument(row.symbol, row.symbol, AssetType.FX if row.is_fx else AssetType(bound.kinds[0]), row.exchange)
    due = when_due(bound, market, row, now)
    late = 0.0 if due is None else max(0.0, _late(bound, market, due, now))
    yield Freshness(bound.table, "FX" if row.is_fx else row.exchange, row.at, due, bound.late.total_seconds(), late)


def when_due(bound: LateBound, market: Instrument, row: NewestRow, now: datetime) -> datetime | None:
    """When rows that are newer than the newest one were due or will be; None where no session is known to come.

    Before there is any row: from when the instruments were listed, of sessions too that had closed before.
    """
    if bound.due != "sessions":
        return row.expected_since if row.at is None else row.at
    first = row.expected_since.date() if row.at is None else row.at.date() + timedelta(days=1)
    ahead = calendars.known(market, first, max(now.date(), first) + WEEK)
    close: datetime | None = ahead.closes[0].item() if ahead.closes.size else None
    if close is None:
        return None
    due = close.replace(tzinfo=UTC)
    return due if row.at is not None else max(due, row.expected_since)


def _late(bound: LateBound, market: Instrument, due: datetime, now: datetime) -> float:
    if bound.due == "open markets":
        return open_seconds(market, due, now)
    return (now - due).total_seconds()


def open_seconds(market: Instrument, start: datetime, end: datetime) -> float:
    """For how many seconds the market was open from `start` to `end` (aware), lunch breaks left out."""
    if end <= start:
        return 0.0
    first = max(start.date() - timedelta(days=1), date(1990, 1, 2))
    found = calendars.known(market, first, end.date() + timedelta(days=1))
    low, high = calendars.instant(start), calendars.instant(end)
    opened = _overlap(found.opens, found.closes, low, high)
    has_break = ~np.isnat(found.break_starts)
    return opened - _overlap(found.break_starts[has_break], found.break_ends[has_break], low, high)


def _overlap(starts: Instants, ends: Instants, low: np.datetime64, high: np.datetime64) -> float:
    spans = np.minimum(ends, high) - np.maximum(starts, low)
    return float(spans[spans > np.timedelta64(0, "s")].astype("timedelta64[s]").astype(np.int64).sum())
