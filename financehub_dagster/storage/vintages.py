"""Vintages: named times as of which all tables that keep revisions are read, the same for ever.

Belongs here: which times may be named, and keeping the names. Does not belong here: reading as of a time
(`queries.arrow`, `database.as_of_functions`), and deleting old revisions (`operations.retention`, which asks).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database import dagster_state
from financehub_dagster.storage.database.array_parameters import insert_rows
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.errors import NotMigrated
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.database.schema import price_revisions, revisions_kept
from financehub_dagster.storage.database.schema import vintages as table

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")
"""No name is a time too: those begin with a digit."""
CLOCKS = timedelta(seconds=5)
"""How far the clocks of a run and of the database may be apart."""


class VintageRefused(Exception):
    """A vintage cannot be taken, or is not there; the message is one line with the remedy."""


@dataclass(frozen=True)
class Vintage:
    """A named time (UTC); note: what it is for."""

    name: str
    as_of: datetime
    note: str
    taken_at: datetime


def take(connection: Connection, name: str, as_of: datetime | None = None, note: str = "") -> Vintage:
    """Name the time `as_of`, without it the newest as of which nothing will change any more.

    Raises VintageRefused for a name that is taken or none, for a time whose rows may still come, and for one that
    revisions were deleted of; DatabaseError.
    """
    if NAME.fullmatch(name) is None:
        raise VintageRefused(f"{name!r} is no name: a letter, then letters, digits, dots, dashes and underscores")
    newest = _settled_until(connection)
    as_of = newest if as_of is None else as_of
    if as_of > newest:
        raise VintageRefused(
            f"rows of before {_told(as_of)} may still be stored: name {_told(newest)} or an earlier time"
        )
    lock_table(connection, price_revisions)  # a clean-up that knows nothing of this vintage ends first
    kept = connection.execute(sa.select(sa.func.max(revisions_kept.c.since))).scalar_one()
    if kept is not None and as_of < kept:
        raise VintageRefused(f"revisions of before {_told(kept)} were deleted: name that time or a later one")
    row = {"name": name, "as_of": as_of, "note": note}
    unless_taken = insert_rows(table, [row]).on_conflict_do_nothing()
    added = connection.execute(unless_taken.returning(*table.c)).first()
    if added is None:
        raise VintageRefused(f"there is a vintage {name} already, and it stays as it is: choose another name")
    return Vintage(*added)


def listed(connection: Connection) -> list[Vintage]:
    """All of them, the oldest time first."""
    return [Vintage(*row) for row in connection.execute(sa.select(*table.c).order_by(table.c.as_of, table.c.name))]


def remove(connection: Connection, name: str) -> Vintage:
    """Forget a name; revisions that it alone kept go with the next clean-up. Raises VintageRefused for none of it."""
    gone = connection.execute(sa.delete(table).where(table.c.name == name).returning(*table.c)).first()
    if gone is None:
        raise VintageRefused(f"there is no vintage {name}: `financehub vintages list` shows what there is")
    return Vintage(*gone)


def _settled_until(connection: Connection) -> datetime:
    """Until when nothing is stored any more: a run in progress may store what it fetched since it began."""
    now: datetime = connection.execute(sa.text("select clock_timestamp()")).scalar_one()
    try:
        began = dagster_state.oldest_in_progress()
    except NotMigrated:  # Dagster's database is made by its first run
        began = None
    return min(now, began or now).astimezone(UTC) - CLOCKS


def _told(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
