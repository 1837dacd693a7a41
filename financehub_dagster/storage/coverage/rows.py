"""The rows of `coverage`, read and written for many instruments at once.

Belongs here: SQL on whole rows. Does not belong here: what should be in them (`ledger`), and counting them (`gaps`).
Imports numpy: import it inside functions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from financehub_dagster.market.coverage import NAMED, Ranges
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of, side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.tables import BARS_OF, TABLES, expected_from

type Key = tuple[str, str]
"""A table and a symbol."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row without its key: the settled span, its calendar's digest, and the text of the ranges of each of NAMED."""

    first: date
    through: date
    calendar_digest: int
    ranges: tuple[str, ...]

    def is_alike(self, other: "Row | None") -> bool:
        """Whether both are about the same sessions."""
        mine = (self.first, self.through, self.calendar_digest)
        return other is not None and mine == (other.first, other.through, other.calendar_digest)


def ranges_by_state(found: Sequence[Row | None]) -> dict[str, Ranges]:
    """The ranges of each of NAMED, by the place of their row."""
    return {
        name: Ranges.parse(["" if row is None else row.ranges[place] for row in found])
        for place, name in enumerate(NAMED)
    }


def read(connection: Connection, tables: Collection[str], symbols: Sequence[str]) -> dict[Key, Row]:
    """The rows there are of these tables and symbols."""
    rows = schema.coverage.c
    texts = [sa.cast(rows[name], sa.Text) for name in NAMED]
    query = sa.select(rows.table_name, rows.symbol, rows.first, rows.through, rows.calendar_digest, *texts).where(
        rows.table_name == any_of(tables), rows.symbol == any_of(symbols)
    )
    return {
        (table, symbol): Row(first, through, digest, tuple(ranges))
        for table, symbol, first, through, digest, *ranges in connection.execute(query)
    }


def replace(connection: Connection, found: Mapping[Key, Row], wanted: Mapping[Key, Row], now: datetime) -> int:
    """Make `found` rows the `wanted` ones; returns how many were wrong, missing or too many."""
    changed = {key: row for key, row in wanted.items() if found.get(key) != row}
    if changed:
        _write(connection, changed, now)
    surplus = found.keys() - wanted.keys()
    if surplus:
        gone = side_by_side(
            table_name=([table for table, _ in surplus], sa.Text), symbol=([symbol for _, symbol in surplus], sa.Text)
        )
        rows = schema.coverage.c
        connection.execute(
            sa.delete(schema.coverage).where(rows.table_name == gone.c.table_name, rows.symbol == gone.c.symbol)
        )
    return len(changed) + len(surplus)


def _write(connection: Connection, rows: Mapping[Key, Row], now: datetime) -> None:
    asked = {
        "tables": [table for table, _ in rows],
        "symbols": [symbol for _, symbol in rows],
        "firsts": [row.first for row in rows.values()],
        "throughs": [row.through for row in rows.values()],
        "digests": [row.calendar_digest for row in rows.values()],
        **{name: [row.ranges[place] for row in rows.values()] for place, name in enumerate(NAMED)},
        "now": now,
    }
    connection.execute(_WRITE, asked)


_WRITE = sa.text("""
    INSERT INTO coverage (table_name, symbol, first, through, calendar_digest,
        empty, gap, dead_lettered, deferred, settled_at)
    SELECT table_name, symbol, first, through, calendar_digest, CAST(empty AS datemultirange),
        CAST(gap AS datemultirange), CAST(dead_lettered AS datemultirange), CAST(deferred AS datemultirange), :now
    FROM unnest(CAST(:tables AS text[]), CAST(:symbols AS text[]), CAST(:firsts AS date[]), CAST(:throughs AS date[]),
        CAST(:digests AS bigint[]), CAST(:empty AS text[]), CAST(:gap AS text[]), CAST(:dead_lettered AS text[]),
        CAST(:deferred AS text[]))
        AS new(table_name, symbol, first, through, calendar_digest, empty, gap, dead_lettered, deferred)
    ON CONFLICT (table_name, symbol) DO UPDATE SET first = excluded.first, through = excluded.through,
        calendar_digest = excluded.calendar_digest, empty = excluded.empty, gap = excluded.gap,
        dead_lettered = excluded.dead_lettered, deferred = excluded.deferred, settled_at = excluded.settled_at
""")

BARS = {name: kinds for name, kinds in BARS_OF.items() if TABLES[name].ledger}
"""The tables of bars that the ledger is about, with the kinds of instruments they take."""
_PAIRS = [(name, derived) for name in BARS for derived in expected_from(name)]
_KINDS = {
    "bars": [name for name, kinds in BARS.items() for _ in kinds],
    "kinds": [str(kind) for kinds in BARS.values() for kind in kinds],
    "sources": [name for name, _ in _PAIRS],
    "derived": [derived for _, derived in _PAIRS],
}


def settled_alike(
    connection: Connection,
) -> list[sa.Row[tuple[str, str, str, date | None, Row | None, bool, list[str]]]]:
    """The active instruments, grouped by what their rows are about.

    bars, exchange, asset_type, delisted_on; first, through and calendar_digest of the row in the table of bars, None
    without one; whether the rows of the tables computed from it are alike; the symbols.
    """
    return list(connection.execute(_ALIKE, _KINDS))


_ALIKE = sa.text("""
    SELECT bars, exchange, asset_type, delisted_on, first, through, calendar_digest, alike,
        array_agg(symbol ORDER BY symbol) AS symbols
    FROM (
        SELECT k.bars, i.exchange, i.asset_type, i.delisted_on, i.symbol, b.first, b.through, b.calendar_digest,
            CASE WHEN b.symbol IS NULL THEN count(d.symbol) = 0 ELSE bool_and(p.derived IS NULL OR
                (d.first, d.through, d.calendar_digest) IS NOT DISTINCT FROM (b.first, b.through, b.calendar_digest))
            END AS alike
        FROM instruments i
        JOIN unnest(CAST(:kinds AS text[]), CAST(:bars AS text[])) AS k(kind, bars) ON k.kind = i.asset_type
        LEFT JOIN coverage b ON b.symbol = i.symbol AND b.table_name = k.bars
        LEFT JOIN unnest(CAST(:sources AS text[]), CAST(:derived AS text[])) AS p(bars, derived) ON p.bars = k.bars
        LEFT JOIN coverage d ON d.symbol = i.symbol AND d.table_name = p.derived
        WHERE i.is_active
        GROUP BY k.bars, i.exchange, i.asset_type, i.delisted_on, i.symbol,
            b.symbol, b.first, b.through, b.calendar_digest
    ) AS each
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ORDER BY 1, 2, 3, 4
""")

_GONE = """
    FROM coverage c
    WHERE (CAST(:symbols AS text[]) IS NULL OR c.symbol = ANY(CAST(:symbols AS text[]))) AND NOT EXISTS (
        SELECT FROM instruments i
        JOIN unnest(CAST(:kinds AS text[]), CAST(:bars AS text[])) AS k(kind, bars) ON k.kind = i.asset_type
        LEFT JOIN unnest(CAST(:sources AS text[]), CAST(:derived AS text[])) AS p(bars, derived) ON p.bars = k.bars
        WHERE i.symbol = c.symbol AND i.is_active AND c.table_name IN (k.bars, p.derived)
    )
"""


def any_gone(connection: Connection) -> bool:
    """Whether there are rows of instruments that are not active, or that the table does not take."""
    found: bool = connection.execute(
        sa.text(f"SELECT EXISTS (SELECT {_GONE})"), {**_KINDS, "symbols": None}
    ).scalar_one()
    return found


def forget_gone(connection: Connection, symbols: Sequence[str] | None) -> int:
    """Delete the rows of those of `symbols` (None: of all) that are not active, or not taken by that table."""
    asked = {**_KINDS, "symbols": None if symbols is None else list(symbols)}
    return connection.execute(sa.text(f"DELETE {_GONE}"), asked).rowcount
