"""Symbols that instruments gave up for others, and which instruments are meant by them now.

Belongs here: reading them, and replacing them. Does not belong here: renaming an instrument (`storage.identity`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from financehub_dagster.storage.database.engine import Connection

STATEMENT = """
    SELECT each ->> 'symbol' AS old, i.symbol, (each ->> 'until')::date AS until,
        EXISTS (SELECT FROM instruments AS j WHERE j.symbol = each ->> 'symbol') AS reused
    FROM instruments AS i
    CROSS JOIN LATERAL jsonb_array_elements(i.former_aliases -> 'financehub') AS each
    WHERE i.former_aliases <> '{}'::jsonb ORDER BY until
"""
"""The symbols that instruments gave up, in the order in which they did."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A symbol that an instrument had until a day, and its present one; reused: another instrument has the old one."""

    old: str
    symbol: str
    until: date
    reused: bool


def from_rows(rows: Iterable[Mapping[str, Any] | RowMapping]) -> list[GivenUp]:
    """What STATEMENT found."""
    return [GivenUp(row["old"], row["symbol"], row["until"], row["reused"]) for row in rows]


def given_up(connection: Connection) -> list[GivenUp]:
    """The symbols that instruments gave up, in the order in which they did."""
    return from_rows(connection.execute(sa.text(STATEMENT)).mappings())


def replaced(known: Iterable[GivenUp], symbols: Iterable[str]) -> dict[str, GivenUp]:
    """Those of `symbols` that an instrument gave up and none has now; of several that had it the last one counts."""
    asked = set(symbols)
    return {each.old: each for each in known if each.old in asked and not each.reused}


def present(known: Iterable[GivenUp], symbols: Sequence[str], tell: Callable[[str], None] | None = None) -> list[str]:
    """`symbols`, each once and as it is now; `tell` is told of each that was replaced."""
    found = replaced(known, symbols)
    for old, each in found.items():
        if tell is not None:
            tell(f"{old} is {each.symbol} since {each.until + timedelta(days=1)}")
    return list(dict.fromkeys(found[symbol].symbol if symbol in found else symbol for symbol in symbols))


def present_symbols(
    connection: Connection, symbols: Sequence[str], tell: Callable[[str], None] | None = None
) -> list[str]:
    """`present` of what is stored now."""
    return present(given_up(connection), symbols, tell)
