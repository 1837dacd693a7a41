"""A new symbol for an instrument: everything that is stored under the old one moves, in one transaction.

Belongs here: which tables hold symbols, moving their rows, and what an instrument was called before. Does not belong
here: finding an instrument by an earlier symbol (`queries.instruments`), archived months (`archive.reading`).

The tables are read off the declared schema: each with a column `symbol` is moved, so that a new table is too. Writers
of all of them wait until the transaction ends; readers do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import sqlalchemy as sa

from financehub_dagster.market.former_aliases import OWN, FormerAlias
from financehub_dagster.market.instruments import Instrument, InstrumentError
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import UnknownInstruments
from financehub_dagster.storage.queries.instruments import list_instruments, upsert_instruments


@dataclass(frozen=True)
class Renaming:
    """What was moved: rows by table. changed is False where the instrument had that symbol already."""

    old: str
    symbol: str
    since: date
    changed: bool
    rows: Mapping[str, int] = field(default_factory=dict)
    former_aliases: tuple[FormerAlias, ...] = ()


def rename(
    connection: Connection,
    old: str,
    new: str,
    since: date,
    aliases: Mapping[str, str] | None = None,
    ended: Mapping[str, str] | None = None,
) -> Renaming:
    """Give the instrument `old` the symbol `new`, its own from the day `since` on, and move all that is stored of it.

    aliases: what vendors call it now. ended: what vendors called it before, of those that keep earlier history under
    that name alone. A second call changes nothing. Raises UnknownInstruments; InstrumentError where `new` is taken.
    """
    for table in _tables():
        locks.lock_table(connection, table)
    present = {each.symbol: each for each in list_instruments(connection, active=None)}
    instrument = present.get(old)
    if instrument is None:
        return _renamed_before(present, old, new)
    _require_free(connection, present, new)
    before = _since_last(instrument, OWN)
    until = since - timedelta(days=1)
    if before is not None and before > until:
        raise InstrumentError(f"{old} is its symbol since {before}: name a later day with --on")
    gone = [FormerAlias(OWN, old, until, before)]
    gone += [FormerAlias(name, text, until, _since_last(instrument, name)) for name, text in (ended or {}).items()]
    rows = {table.name: _move(connection, table, old, new) for table in _tables()}
    kept = {name: text for name, text in instrument.aliases.items() if name not in (aliases or {})}
    changed = replace(
        instrument,
        symbol=new,
        aliases={**kept, **(aliases or {})},
        former_aliases=(*instrument.former_aliases, *gone),
    )
    upsert_instruments(connection, [changed])
    for work in (schema.task_failures, schema.deferred_work):
        connection.execute(_arguments_of(work), {"old": f'"{old}"', "new": f'"{new}"'})
    found = {name: count for name, count in rows.items() if count and name != schema.instruments.name}
    return Renaming(old, new, since, True, found, changed.former_aliases)


def _tables() -> list[sa.Table]:
    """The tables with a column `symbol`, in the order in which they are locked."""
    return [table for table in schema.metadata.tables.values() if "symbol" in table.c]


def _renamed_before(present: Mapping[str, Instrument], old: str, new: str) -> Renaming:
    """What a second call finds; raises UnknownInstruments where the instrument never had the symbol `old`."""
    instrument = present.get(new)
    named = [] if instrument is None else [each for each in instrument.former_aliases if each.provider == OWN]
    last = next((each for each in reversed(named) if each.symbol == old), None)
    if instrument is None or last is None:
        raise UnknownInstruments([old])
    return Renaming(old, new, last.until + timedelta(days=1), False, {}, instrument.former_aliases)


def _require_free(connection: Connection, present: Mapping[str, Instrument], new: str) -> None:
    """Raise InstrumentError where an instrument has the symbol, or rows are left of one that had."""
    if new in present:
        name = present[new].name
        remedy = f"give that one another symbol first, such as `financehub instruments rename {new} {new}.OLD`"
        raise InstrumentError(f"{new} is {name} already: {remedy}")
    for table in _tables():
        columns = table.c
        known = sa.select(sa.exists().where(columns.symbol == new, *_keyed(table)))
        if connection.execute(known).scalar_one():
            raise InstrumentError(f"{table.name} has rows of a former {new}: choose another symbol, or delete them")


def _since_last(instrument: Instrument, provider: str) -> date | None:
    """Since when an instrument has its present name at a provider: the day after its last former one."""
    ends = [each.until for each in instrument.former_aliases if each.provider == provider]
    return max(ends) + timedelta(days=1) if ends else None


def _move(connection: Connection, table: sa.Table, old: str, new: str) -> int:
    change = sa.update(table).where(table.c.symbol == old, *_keyed(table)).values(symbol=new)
    return connection.execute(change).rowcount


def _keyed(table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """A condition that every row fulfils, where the table's index begins with the names of tables."""
    if "table_name" not in table.c:
        return []
    return [table.c.table_name == sa.any_(sa.cast(list(schema.metadata.tables), sa.ARRAY(sa.Text)))]


def _arguments_of(table: sa.Table) -> sa.TextClause:
    """Names the instrument anew in the arguments of work that waits: in its lists of symbols."""
    return sa.text(
        f"UPDATE {table.name} SET kwargs = CAST(replace(CAST(kwargs AS text), :old, :new) AS jsonb)"
        " WHERE strpos(CAST(kwargs AS text), :old) > 0"
    )
