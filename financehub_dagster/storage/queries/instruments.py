"""The stored universe.

Belongs here: reading and changing the instruments table. Does not belong here: parsing files of instruments (market).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from financehub_dagster.market.former_aliases import from_json, to_json
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.database import locks
from financehub_dagster.storage.database.array_parameters import any_of, insert_rows
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import UnknownInstruments
from financehub_dagster.storage.database.schema import instruments as table
from financehub_dagster.storage.queries.given_up import present_symbols

_VALUES = (
    "name",
    "asset_type",
    "exchange",
    "currency",
    "timezone",
    "is_active",
    "market_cap",
    "aliases",
    "delisted_on",
    "former_aliases",
)
_COLUMNS = ("symbol", *_VALUES)


@dataclass(frozen=True)
class UpsertResult:
    """What an upsert did, in instruments."""

    inserted: int
    updated: int
    unchanged: int


def upsert_instruments(connection: Connection, instruments: Iterable[Instrument]) -> UpsertResult:
    """Add instruments, or bring stored ones of the same symbol to the given state; the last of each symbol counts.

    One that was delisted stays so, and one without former aliases keeps those it has: who does not know of them does
    not take them back.
    """
    rows = {instrument.symbol: _row(instrument) for instrument in instruments}
    if not rows:
        return UpsertResult(0, 0, 0)
    locks.lock_table(connection, table)
    statement = insert_rows(table, [rows[symbol] for symbol in sorted(rows)])
    new: dict[str, sa.ColumnElement[Any]] = {name: statement.excluded[name] for name in _VALUES}
    new["delisted_on"] = sa.func.coalesce(new["delisted_on"], table.c.delisted_on)
    told = new["former_aliases"]
    new["former_aliases"] = sa.case((told == sa.cast({}, JSONB), table.c.former_aliases), else_=told)
    changed = statement.on_conflict_do_update(
        index_elements=[table.c.symbol],
        set_={**new, "updated_at": sa.func.now()},
        where=sa.or_(*(table.c[name].is_distinct_from(new[name]) for name in _VALUES)),
    ).returning(sa.literal_column("xmax = 0", sa.Boolean))
    is_new = list(connection.execute(changed).scalars())
    return UpsertResult(sum(is_new), len(is_new) - sum(is_new), len(rows) - len(is_new))


def list_instruments(
    connection: Connection,
    asset_types: Sequence[AssetType] | None = None,
    symbols: Sequence[str] | None = None,
    active: bool | None = True,
    *,
    all_known: bool = True,
    listed_on: date | None = None,
) -> list[Instrument]:
    """Instruments, the most important first (`ranking.RANK`).

    asset_types and symbols narrow the choice; active None means both, listed_on leaves out those that were delisted
    before that day. A symbol that an instrument gave up finds it. Raises UnknownInstruments for `symbols` that no
    instrument has, unless not `all_known`; one that is only filtered out by the other arguments is not unknown.
    """
    query = sa.select(table).order_by(sa.text(RANK))
    if asset_types is not None:
        query = query.where(table.c.asset_type.in_([str(kind) for kind in asset_types]))
    if symbols is not None:
        symbols = present_symbols(connection, symbols)
        if all_known:
            _require_known(connection, symbols)
        query = query.where(_among(symbols))
    if active is not None:
        query = query.where(table.c.is_active == active)
    if listed_on is not None:
        query = query.where(sa.or_(table.c.delisted_on.is_(None), table.c.delisted_on >= listed_on))
    return [_instrument(row) for row in connection.execute(query)]


def search_instruments(
    connection: Connection, text: str, asset_type: str, exchange: str, limit: int
) -> list[Instrument]:
    """At most `limit` instruments whose symbol begins with `text` or whose name has it, in any case of letters.

    asset_type and exchange narrow the choice unless they are empty. Those of that very symbol come first, then those
    whose symbol begins so, each the most important first.
    """
    wanted = text.strip().upper()
    begins = table.c.symbol.startswith(wanted, autoescape=True)
    query = sa.select(table).where(sa.or_(begins, table.c.name.icontains(wanted, autoescape=True)))
    if asset_type:
        query = query.where(table.c.asset_type == asset_type)
    if exchange:
        query = query.where(table.c.exchange == exchange)
    order = (sa.desc(table.c.symbol == wanted), sa.desc(begins), sa.text(RANK))
    return [_instrument(row) for row in connection.execute(query.order_by(*order).limit(limit))]


def deactivate_instruments(connection: Connection, symbols: Sequence[str]) -> int:
    """Take instruments out of the universe, keeping their rows; returns how many were active.

    Raises UnknownInstruments, and changes nothing, if no instrument has one of the symbols.
    """
    locks.lock_table(connection, table)
    symbols = present_symbols(connection, symbols)
    _require_known(connection, symbols)
    change = (
        sa.update(table).where(_among(symbols), table.c.is_active).values(is_active=False, updated_at=sa.func.now())
    )
    return connection.execute(change).rowcount


def _require_known(connection: Connection, symbols: Sequence[str]) -> None:
    known = set(connection.execute(sa.select(table.c.symbol).where(_among(symbols))).scalars())
    unknown = [symbol for symbol in dict.fromkeys(symbols) if symbol not in known]
    if unknown:
        raise UnknownInstruments(unknown)


def _among(symbols: Sequence[str]) -> sa.ColumnElement[bool]:
    return table.c.symbol == any_of(symbols)


def _row(instrument: Instrument) -> dict[str, object]:
    values = {name: getattr(instrument, name) for name in _VALUES}
    kind, aliases = str(instrument.asset_type), dict(instrument.aliases)
    former = to_json(instrument.former_aliases)
    own = {"symbol": instrument.symbol, "asset_type": kind, "aliases": aliases, "former_aliases": former}
    return {**values, **own}


def _instrument(row: sa.Row[tuple[object, ...]]) -> Instrument:
    values = {name: getattr(row, name) for name in _COLUMNS}
    kind, former = AssetType(values["asset_type"]), from_json(values["former_aliases"])
    own = {"asset_type": kind, "former_aliases": former}
    return Instrument(**{**values, **own, "importance": row.importance, "permanent_id": row.permanent_id})


RANK = "importance desc nulls last, market_cap desc nulls last, symbol"
"""`order by` for rows of `instruments`: the most important first. Until the first night has computed an importance, and
for instruments added since, the largest market capitalisation first."""
