"""What the ledger tells people: counts by state, who lacks most, and how much of each month is there.

Belongs here: reading `coverage`. Does not belong here: keeping it (`ledger`), or doing something about it
(`backfill_planner`). Imports numpy and calendars: import it inside functions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import batched, groupby

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from financehub_dagster.market import calendars, coverage
from financehub_dagster.market.coverage import NAMED, OPEN, Days, Ranges, States
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.tables.catalog import BARS_OF, INDICATORS, LEDGER_TABLES

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

    def count(self, table: str, name: str) -> NDArray[np.int64]:
        """How many sessions of each instrument are in a state, of shape (instruments,)."""
        ranges = self.ranges[table][name]
        lengths = np.searchsorted(self.sessions, ranges.stops) - np.searchsorted(self.sessions, ranges.starts)
        return np.bincount(ranges.rows, lengths, len(self.symbols)).astype(np.int64)

    def states(self, table: str) -> States:
        """The state of every session, of shape (instruments, sessions)."""
        expected = np.arange(self.sessions.size) < self.settled[:, np.newaxis]
        if table == INDICATORS:
            expected = coverage.decode(self.sessions, expected, self.ranges[self.bars]) == coverage.STORED
        return coverage.decode(self.sessions, expected, self.ranges[table])

    def flags(self, table: str, name: str) -> coverage.Flags:
        """Which sessions are in a state, of shape (instruments, sessions)."""
        return coverage.in_ranges(self.sessions, self.ranges[table][name], len(self.symbols))


def read_groups(connection: Connection, symbols: Sequence[str] | None = None) -> Iterator[Group]:
    """What the ledger says of `symbols` (None: all), at most BATCH at a time."""
    asked = {"bars": list(BARS_OF), "indicators": INDICATORS, "symbols": None if symbols is None else list(symbols)}
    found = connection.execute(_ROWS, asked)
    for (bars, exchange, kind, first), members in groupby(found, lambda row: tuple(row[:4])):
        for rows in batched(members, BATCH):
            one = Instrument(rows[0].symbol, rows[0].symbol, AssetType(kind), exchange)
            sessions = calendars.known(one, first, max(row.through for row in rows)).dates
            through = np.array([row.through for row in rows], "datetime64[D]")
            yield Group(
                bars,
                sessions,
                [row.symbol for row in rows],
                [row.rank for row in rows],
                np.searchsorted(sessions, through, side="right"),
                {
                    table: {
                        name: Ranges.parse([row[start + place] for row in rows]) for place, name in enumerate(NAMED)
                    }
                    for table, start in ((bars, _BARS_AT), (INDICATORS, _INDICATORS_AT))
                },
            )


_BARS_AT, _INDICATORS_AT = 7, 11
_ROWS = sa.text("""
    SELECT b.table_name, i.exchange, i.asset_type, b.first, b.symbol, b.through, i.rank,
        CAST(b.empty AS text), CAST(b.gap AS text), CAST(b.dead_lettered AS text), CAST(b.deferred AS text),
        CAST(d.empty AS text), CAST(d.gap AS text), CAST(d.dead_lettered AS text), CAST(d.deferred AS text)
    FROM coverage b
    JOIN coverage d ON d.symbol = b.symbol AND d.table_name = :indicators
    JOIN (
        SELECT symbol, exchange, asset_type, row_number() OVER (ORDER BY market_cap DESC NULLS LAST, symbol) - 1 AS rank
        FROM instruments WHERE is_active
    ) AS i ON i.symbol = b.symbol
    WHERE b.table_name = ANY(CAST(:bars AS text[]))
        AND (CAST(:symbols AS text[]) IS NULL OR b.symbol = ANY(CAST(:symbols AS text[])))
    ORDER BY b.table_name, i.exchange, i.asset_type, b.first, i.rank
""")


def sessions_by_state(connection: Connection, symbols: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
    """How many sessions of each table of the ledger are in each state, `expected` being all of them."""
    found: dict[str, dict[str, int]] = {table: dict.fromkeys(STATES, 0) for table in LEDGER_TABLES}
    for group in read_groups(connection, symbols):
        expected = int(group.settled.sum())
        for table in (group.bars, INDICATORS):
            counts = {name: int(group.count(table, name).sum()) for name in NAMED}
            stored = expected - sum(counts.values())
            for name, count in {"expected": expected, "stored": stored, **counts}.items():
                found[table][name] += count
            expected = stored
    return found


def open_gaps(
    connection: Connection, limit: int, *, table: str | None = None, symbols: Sequence[str] | None = None
) -> list[Mapping[str, object]]:
    """The instruments that lack most, each with what it lacks, its first and last open month, and its worst."""
    worst: list[tuple[int, str, str, Mapping[str, object]]] = []
    for group in read_groups(connection, symbols):
        for name in (group.bars, INDICATORS):
            if table in (None, name):
                worst += _lacking(group, name, limit)
        worst = sorted(worst, key=lambda each: each[:3])[:limit]
    return [row for *_, row in worst]


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
    missing = np.zeros((chosen.size, group.sessions.size), bool)
    for name in OPEN:
        missing |= coverage.in_ranges(group.sessions, group.ranges[table][name].among(place), chosen.size)
    months = coverage.month_starts(group.sessions[0].item(), group.sessions[-1].item())
    by_month = coverage.by_month(group.sessions, missing, months)
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
        for table in {group.bars, INDICATORS} & set(table_names):
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
        coverage.by_month(group.sessions, flags, months).astype(np.float32)
        for flags in (states != coverage.UNEXPECTED, states == coverage.STORED, states == coverage.EMPTY)
    )
    expected[expected == 0] = np.nan
    return np.stack([(stored + empty) / expected, stored / expected])
