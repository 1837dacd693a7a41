"""What the ledger tells people: counts by state, who lacks most, and how much of each month is there.

Belongs here: reading `coverage`. Does not belong here: keeping it (`ledger`), or doing something about it
(`backfill_planner`). Imports numpy and calendars: import it inside functions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import batched, groupby

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from financehub_dagster.market import calendars, coverage, derived
from financehub_dagster.market.coverage import NAMED, OPEN, Days, Ranges, States
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.coverage import minute_days, minute_rows, rows
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.instruments import RANK
from financehub_dagster.tables import BARS_OF, LEDGER_TABLES, expected_from, period_of

BATCH = 500
"""Instruments whose states are looked at together: 2.5 MB for twenty years."""
STATES = ("expected", "stored", *NAMED)


@dataclass(frozen=True)
class Group:
    """What the ledger says of instruments of one table of bars and one calendar.

    sessions: the calendar's, from the first that is expected to the last that any of them has settled. settled: how
    many of these each has settled. ranks: their places by importance among all instruments. ranges: by table and state,
    of the rows of `bars` and of the indicators.
    """

    bars: str
    sessions: Days
    symbols: list[str]
    ranks: list[int]
    settled: NDArray[np.intp]
    ranges: Mapping[str, Mapping[str, Ranges]]

    @property
    def tables(self) -> tuple[str, ...]:
        """The table of bars and those with rows expected for its bars."""
        return tuple(self.ranges)

    def axis(self, table: str) -> Days:
        """The dates of the rows of `table`: the sessions, or the periods that they belong to."""
        return derived.axis_of(period_of(table), self.sessions)

    def count(self, table: str, name: str) -> NDArray[np.int64]:
        """How many rows of each instrument are in a state, of shape (instruments,)."""
        ranges, axis = self.ranges[table][name], self.axis(table)
        lengths = np.searchsorted(axis, ranges.stops) - np.searchsorted(axis, ranges.starts)
        return np.bincount(ranges.rows, lengths, len(self.symbols)).astype(np.int64)

    def expected(self, table: str) -> coverage.Flags:
        """Which rows of `table` are expected, of shape (instruments, rows of its axis)."""
        settled = np.arange(self.sessions.size) < self.settled[:, np.newaxis]
        if table == self.bars:
            return settled
        stored = coverage.decode(self.sessions, settled, self.ranges[self.bars]) == coverage.STORED
        return derived.expected_rows(period_of(table), self.sessions, stored)

    def states(self, table: str) -> States:
        """The state of every row, of shape (instruments, rows of the table's axis)."""
        return coverage.decode(self.axis(table), self.expected(table), self.ranges[table])

    def flags(self, table: str, name: str) -> coverage.Flags:
        """Which rows are in a state, of shape (instruments, rows of the table's axis)."""
        return coverage.in_ranges(self.axis(table), self.ranges[table][name], len(self.symbols))


def read_groups(connection: Connection, symbols: Sequence[str] | None = None) -> Iterator[Group]:
    """What the ledger says of `symbols` (None: all), at most BATCH at a time."""
    asked = {"bars": list(BARS_OF), "symbols": None if symbols is None else list(symbols)}
    found = connection.execute(_ROWS, asked)
    for (bars, exchange, kind, delisted_on, first), members in groupby(found, lambda row: tuple(row[:5])):
        tables = (bars, *expected_from(bars))
        for batch in batched(members, BATCH):
            written = rows.read(connection, tables, [each.symbol for each in batch])
            whole = [each for each in batch if all((table, each.symbol) in written for table in tables)]
            if not whole:
                continue
            one = Instrument(whole[0].symbol, whole[0].symbol, AssetType(kind), exchange, delisted_on=delisted_on)
            sessions = calendars.known(one, first, max(each.through for each in whole)).dates
            through = np.array([each.through for each in whole], "datetime64[D]")
            yield Group(
                bars,
                sessions,
                [each.symbol for each in whole],
                [each.rank for each in whole],
                np.searchsorted(sessions, through, side="right"),
                {table: rows.ranges_by_state([written[table, each.symbol] for each in whole]) for table in tables},
            )


_ROWS = sa.text(f"""
    SELECT b.table_name, i.exchange, i.asset_type, i.delisted_on, b.first, b.symbol, b.through, i.rank
    FROM coverage b
    JOIN (
        SELECT symbol, exchange, asset_type, delisted_on,
            row_number() OVER (ORDER BY {RANK}) - 1 AS rank
        FROM instruments WHERE is_active
    ) AS i ON i.symbol = b.symbol
    WHERE b.table_name = ANY(CAST(:bars AS text[]))
        AND (CAST(:symbols AS text[]) IS NULL OR b.symbol = ANY(CAST(:symbols AS text[])))
    ORDER BY b.table_name, i.exchange, i.asset_type, i.delisted_on, b.first, i.rank
""")


def sessions_by_state(connection: Connection, symbols: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
    """How many sessions of each table of the ledger, or days of minutes, are in each state; `expected` are all."""
    found: dict[str, dict[str, int]] = {table: dict.fromkeys(STATES, 0) for table in LEDGER_TABLES}
    for group in read_groups(connection, symbols):
        of_bars = 0
        for table in group.tables:
            counts = {name: int(group.count(table, name).sum()) for name in NAMED}
            if table == group.bars:
                expected = int(group.settled.sum())
            else:
                expected = of_bars if period_of(table) == "session" else int(group.expected(table).sum())
            stored = expected - sum(counts.values())
            of_bars = stored if table == group.bars else of_bars
            for name, count in {"expected": expected, "stored": stored, **counts}.items():
                found[table][name] += count
    if minute_rows.TABLE in found:
        days = minute_days.read_days(connection, datetime.now(UTC), symbols)
        found[minute_rows.TABLE] = minute_days.days_by_state(days)
    return found


def open_gaps(
    connection: Connection, limit: int, *, table: str | None = None, symbols: Sequence[str] | None = None
) -> list[Mapping[str, object]]:
    """The instruments that lack most, each with what it lacks, its first and last open month, and its worst."""
    worst: list[tuple[int, str, str, Mapping[str, object]]] = []
    for group in read_groups(connection, symbols):
        for name in group.tables:
            if table in (None, name):
                worst += _lacking(group, name, limit)
        worst = sorted(worst, key=lambda each: each[:3])[:limit]
    if table in (None, minute_rows.TABLE):
        rows = minute_days.lacking(minute_days.read_days(connection, datetime.now(UTC), symbols), limit)
        worst += [(-_open_count(row), minute_rows.TABLE, str(row["symbol"]), row) for row in rows]
        worst = sorted(worst, key=lambda each: each[:3])[:limit]
    return [row for *_, row in worst]


def _open_count(row: Mapping[str, object]) -> int:
    return sum(int(str(row[name])) for name in OPEN)


def _lacking(group: Group, table: str, limit: int) -> list[tuple[int, str, str, Mapping[str, object]]]:
    """Of a group the instruments that lack most: how much (negative), table, symbol, and all about it."""
    counts = {name: group.count(table, name) for name in OPEN}
    total = np.sum(list(counts.values()), axis=0)
    chosen = np.lexsort((np.array(group.symbols), -total))[:limit]
    chosen = chosen[total[chosen] > 0]
    if not chosen.size:
        return []
    place = np.full(len(group.symbols), -1)
    place[chosen] = np.arange(chosen.size)
    axis = group.axis(table)
    missing = np.zeros((chosen.size, axis.size), bool)
    for name in OPEN:
        missing |= coverage.in_ranges(axis, group.ranges[table][name].among(place), chosen.size)
    months = coverage.month_starts(axis[0].item(), axis[-1].item())
    by_month = coverage.by_month(axis, missing, months)
    found: list[tuple[int, str, str, Mapping[str, object]]] = []
    for row, number in enumerate(chosen.tolist()):
        lacking = np.flatnonzero(by_month[row])
        worst = lacking[::-1][by_month[row][lacking[::-1]].argmax()]
        symbol = group.symbols[number]
        about = {
            "table": table,
            "symbol": symbol,
            **{name: int(counts[name][number]) for name in OPEN},
            "first_month": months[lacking[0]].item(),
            "last_month": months[lacking[-1]].item(),
            "worst_month": months[worst].item(),
        }
        found.append((-int(total[number]), table, symbol, about))
    return found


@dataclass(frozen=True)
class Shares:
    """How much of each month is stored, and how much is accounted for: of shape (symbols, months), from 0 to 1.

    shares counts what is stored or confirmed empty, stored the former alone; both are NaN where nothing is expected.
    months are the first days, in order and without a hole; symbols stand in the order of their importance.
    """

    symbols: list[str]
    months: list[date]
    shares: NDArray[np.float32]
    stored: NDArray[np.float32]


def shares_by_month(connection: Connection, table_names: Sequence[str]) -> Shares:
    """What is stored, or confirmed to be empty, of all that is expected of these tables together."""
    span = connection.execute(sa.text("SELECT min(first), max(through) FROM coverage")).one()
    if span[0] is None:
        return Shares([], [], np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    months = coverage.month_starts(*span)
    symbols: list[str] = []
    ranks: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for group in read_groups(connection):
        for table in set(group.tables) & set(table_names):
            part = _shares(group, table, months)
            some = np.flatnonzero(~np.isnan(part[0]).all(axis=1)).tolist()
            parts.append(part[:, some])
            symbols += [group.symbols[row] for row in some]
            ranks += [group.ranks[row] for row in some]
    order = np.argsort(ranks, kind="stable")
    both = np.concatenate(parts, axis=1)[:, order] if parts else np.zeros((2, 0, months.size), np.float32)
    used = np.flatnonzero(~np.isnan(both[0]).all(axis=0))
    shown = slice(used[0], used[-1] + 1) if used.size else slice(0)
    return Shares([symbols[at] for at in order], months[shown].tolist(), both[0, :, shown], both[1, :, shown])


def _shares(group: Group, table: str, months: Days) -> NDArray[np.float32]:
    """What is accounted for and what is stored, of shape (2, instruments, months)."""
    states = group.states(table)
    expected, stored, empty = (
        coverage.by_month(group.axis(table), flags, months).astype(np.float32)
        for flags in (states != coverage.UNEXPECTED, states == coverage.STORED, states == coverage.EMPTY)
    )
    expected[expected == 0] = np.nan
    return np.stack([(stored + empty) / expected, stored / expected])
