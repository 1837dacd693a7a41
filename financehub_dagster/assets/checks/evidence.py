"""Where the evidence of checks comes from: what a run covered, or a whole table page by page.

Belongs here: dividing either into parts that fit into memory, each read in a transaction of its own. Does not belong
here: judging (`bars`, `series`, `snapshots`), Dagster (`scope`, `steps`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import batched
from typing import TYPE_CHECKING

from financehub_dagster.assets.checks.bars import EVER, Check, Evidence, Finding, merge
from financehub_dagster.tables import SNAPSHOTS, TABLES
from financehub_dagster.tables.declaration import Table

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.market.instruments import Instrument

VALUES = 1_000_000
"""Values that are read at once: 100,000 bars, or 35,000 rows of indicators. pandas takes some 200 bytes for each while
it makes a frame of them and pandera judges it."""
MEMBERS = 50
"""Instruments whose rows are compared with those of another table at once, on the server: some 500,000 bars."""
LONGEST = 11_000
"""Days of the longest history that is likely to be stored of one instrument: thirty years, without weekends off."""


def _adds_one(table: str) -> bool:
    """Whether a run adds at most one row per instrument, and stored rows never change."""
    return table in SNAPSHOTS and SNAPSHOTS[table].keeps == "newest"


def _is_shared(table: Table) -> bool:
    """Whether rows are of no single instrument."""
    return all(column.name != "symbol" for column in table.columns)


@dataclass(frozen=True)
class Scope:
    """What a run covered of a table: whose rows, and of which days (None: a table whose rows are of no time).

    rewritten are members of which the run wrote other days too: all that is stored of them.
    """

    table: str
    members: Sequence["Instrument"] = field(repr=False)
    window: tuple[date, date] | None
    rewritten: frozenset[str] = frozenset()

    def parts(self) -> "Iterator[Scope]":
        """Scopes that make up this one, each with rows that fit into memory."""
        if self.window is None or _is_shared(TABLES[self.table]):
            yield self
            return
        beyond = [each for each in self.members if each.symbol in self.rewritten]
        within = [each for each in self.members if each.symbol not in self.rewritten]
        for members, window in ((within, self.window), (beyond, EVER)):
            days = 1 if _adds_one(self.table) else min((window[1] - window[0]).days + 1, LONGEST)
            minutes = TABLES[self.table].bar_minutes
            rows = days * (24 * 60 // minutes if minutes else 1)
            for some in batched(members, max(rows_at_once(self.table) // rows, 1)):
                yield replace(self, members=some, window=window)


def rows_at_once(table: str) -> int:
    """Rows of `table` that are read at once."""
    return max(VALUES // len(TABLES[table].columns), 1)


@dataclass
class Covered(Evidence):
    """The rows of some instruments in a window: what a run covered, or part of it."""

    @cached_property
    def rows(self) -> "pd.DataFrame":
        """All columns of the rows in the window; of prices told one by one the newest of each instrument."""
        from financehub_dagster.storage.queries import checks

        if _adds_one(self.table):
            return checks.newest_rows(self.connection, self.table, self.symbols)
        table = TABLES[self.table]
        symbols = None if table.time is None or _is_shared(table) else self.symbols
        return checks.read_frame(self.connection, self.table, symbols, self.window)

    @cached_property
    def before(self) -> "pd.DataFrame":
        """symbol, date and close of each symbol's last bar before the window."""
        from financehub_dagster.storage.queries import checks

        start = EVER[0] if self.window is None else self.window[0]
        return checks.last_closes_before(self.connection, self.table, self.symbols, start)

    @cached_property
    def reach(self) -> Mapping[str, tuple[date, date]]:
        """The part of the window from each symbol's first stored bar to its last."""
        from financehub_dagster.storage.queries import history

        spans = history.stored_spans(self.connection, self.table, self.symbols)
        if self.window is None:
            return spans
        start, end = self.window
        inside = {symbol: (max(first, start), min(last, end)) for symbol, (first, last) in spans.items()}
        return {symbol: (first, last) for symbol, (first, last) in inside.items() if first <= last}


@dataclass
class Page(Evidence):
    """The next rows of a whole table in the order of its key, behind the last row of the page before, `previous`."""

    previous: "pd.DataFrame | None" = None

    @cached_property
    def rows(self) -> "pd.DataFrame":
        """All columns of the rows of this page."""
        from financehub_dagster.storage.queries import checks

        key = TABLES[self.table].key
        after = None if self.previous is None else [self.previous[name].iloc[0] for name in key]
        return checks.read_page(self.connection, self.table, after, rows_at_once(self.table))

    @cached_property
    def before(self) -> "pd.DataFrame":
        """The last bar of the page before: only its symbol goes on in this one."""
        return self.rows.head(0) if self.previous is None else self.previous

    @cached_property
    def reach(self) -> Mapping[str, tuple[date, date]]:
        """From each symbol's first bar of this page, or the day after its last one of the page before, to its last."""
        reach: dict[str, tuple[date, date]] = {
            str(symbol): (own.iloc[0], own.iloc[-1]) for symbol, own in self.rows.groupby("symbol")["date"]
        }
        if self.previous is not None:
            symbol, day = str(self.previous["symbol"].iloc[0]), self.previous["date"].iloc[0]
            if symbol in reach:
                reach[symbol] = (day + timedelta(days=1), reach[symbol][1])
        return reach


def judge_scope(scope: Scope, checks: Sequence[Check], now: datetime) -> dict[str, Finding]:
    """What each of `checks` finds in what a run covered, by the name of the check."""
    from financehub_dagster.storage.database.engine import transaction

    divided = [check for check in checks if check.by != "whole"]
    whole = [check for check in checks if check.by == "whole"]
    findings: dict[str, list[Finding]] = {check.name: [] for check in checks}
    for part in scope.parts() if divided else ():
        with transaction() as connection:
            _judge(Covered(connection, part.table, part.members, now, part.window), divided, findings)
    with transaction() as connection:
        _judge(Covered(connection, scope.table, scope.members, now, scope.window), whole, findings)
    return {name: merge(found) for name, found in findings.items()}


def judge_table(
    table: str, members: "Sequence[Instrument]", checks: Sequence[Check], now: datetime
) -> tuple[int, dict[str, Finding]]:
    """How many rows a table has, and what those of `checks` that rows or members are divided for find in all of it.

    Each part is read in a transaction of its own: nobody waits for the table to be read, and memory does not grow.
    """
    from financehub_dagster.storage.database.engine import transaction

    by_rows = [check for check in checks if check.by == "rows"]
    by_members = [check for check in checks if check.by == "members"]
    findings: dict[str, list[Finding]] = {check.name: [] for check in (*by_rows, *by_members)}
    rows, previous, more = 0, None, True
    while more:
        with transaction() as connection:
            page = Page(connection, table, members, now, previous=previous)
            _judge(page, by_rows, findings)
            rows, previous = rows + len(page.rows), page.rows.tail(1)
            more = len(page.rows) == rows_at_once(table)
        _fold(findings)
    for some in batched(members, MEMBERS) if by_members else ():
        with transaction() as connection:
            _judge(Covered(connection, table, some, now), by_members, findings)
        _fold(findings)
    return rows, {name: merge(found) for name, found in findings.items()}


def _judge(evidence: Evidence, checks: Sequence[Check], findings: Mapping[str, list[Finding]]) -> None:
    for check in checks:
        findings[check.name].append(check.examine(evidence))


def _fold(findings: dict[str, list[Finding]]) -> None:
    """Merge what was found so far, of which only the first rows are kept."""
    for name, found in findings.items():
        findings[name] = [merge(found)] if found else []
