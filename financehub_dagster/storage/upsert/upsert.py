"""The one writer: arrays into a table, touching only what differs, in a transaction the caller owns.

Belongs here: how rows get into any table with a natural key, what was replaced, and which derived rows that makes
stale. Does not belong here: what the rows mean.

Symbols whose rows are all stored already are left alone, those of which nothing is stored are copied into the table.
The rows of all others are copied into a temporary table and joined with the target: equal rows are left alone,
different ones are updated, missing ones inserted. A writer holds the table's lock from the comparison to the commit
(`database.locks`), so that it misses nothing that another one has written, and counts and revisions are exact; a row
that somebody else inserts in between without the lock breaks the write off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, array

from financehub_dagster.storage.database import locks, month_partitions, schema
from financehub_dagster.storage.database.engine import Connection, raw_cursor
from financehub_dagster.storage.database.errors import SymbolGivenUp
from financehub_dagster.storage.lineage import pending_materializations, stale_inputs
from financehub_dagster.storage.queries import days

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from financehub_dagster.storage.upsert.batch import Batch


@dataclass(frozen=True)
class WriteResult:
    """What a write did, in rows; changed_from maps each symbol to the earliest session that is new or changed."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    changed_from: Mapping[str, date] = field(default_factory=dict)


def write(
    connection: Connection,
    table: sa.Table,
    columns: "Mapping[str, NDArray[np.generic]]",
    *,
    run_id: str | None,
    keep_revisions: bool,
    changes_only: bool = False,
    derived: Sequence[str] = (),
    locked: bool = False,
) -> WriteResult:
    """Store rows of `table` given as arrays of one length by column name, within the caller's transaction.

    Missing values (NaN, NaT, None) become NULL; of rows with the same key the last one counts. Rows that differ from
    the stored ones in nothing but when they were made count as unchanged and are not written. With `keep_revisions` the
    replaced rows go to price_revisions under `run_id`; with `changes_only`, for rows of which few values change, only
    their key, their stamp and the replaced values do. For each table of `derived` the changed instruments are marked
    dirty. A run that changes rows is noted to owe a materialization until it reports one (`pending_materializations`).
    It locks the table, unless the caller has `locked` all of the symbols. Raises BadRows for values the table cannot
    hold, SymbolGivenUp for rows that were asked for before their instrument was renamed, before anything is written;
    DatabaseError.
    """
    from financehub_dagster.storage.upsert.batch import make_batch
    from financehub_dagster.storage.upsert.unchanged_rows import split

    batch = make_batch(table, columns)
    if not batch.rows:
        return WriteResult()
    if not locked:
        locks.lock_table(connection, table)
    _require_present(connection, table, batch)
    if month_partitions.is_partitioned(table):
        month_partitions.ensure_months(
            connection, table.name, batch.months(list(table.c).index(days.require_time(table)))
        )
    found = split(connection, table, batch)
    changes = [_Change(each.symbol, each.rows.stop - each.rows.start, 0, *each.days) for each in found.absent]
    if found.absent:
        _copy(connection, table.name, batch.part([each.rows for each in found.absent]))
    if found.unclear:
        statements = _statements(table)
        keep = (statements.keep_changes if changes_only else statements.keep) if keep_revisions else None
        changes += _merge(connection, statements, batch.part(found.unclear), run_id, keep)
    absent, differing = sum(change.absent for change in changes), sum(change.differing for change in changes)
    changed_from = {change.symbol: change.session for change in changes if change.session is not None}
    last = [change.last_session for change in changes if change.last_session is not None]
    if changed_from and run_id is not None:
        pending_materializations.note_write(connection, table.name, run_id, min(changed_from.values()), max(last))
    for name in derived:
        stale_inputs.mark_dirty(connection, name, changed_from)
    return WriteResult(absent, differing, batch.rows - absent - differing, changed_from)


def _require_present(connection: Connection, table: sa.Table, batch: "Batch") -> None:
    """Raise SymbolGivenUp for rows of an instrument that was renamed after they were asked for: nobody would find them.

    The caller holds the table's lock, which a rename waits for.
    """
    from financehub_dagster.storage.queries.given_up import given_up, replaced
    from financehub_dagster.storage.upsert.binary_copy import Coded

    names = list(table.columns.keys())
    if "symbol" not in names:
        return
    field = batch.fields[names.index("symbol")]
    assert isinstance(field, Coded)
    for each in replaced(given_up(connection), [value.decode() for value in field.values]).values():
        raise SymbolGivenUp(each.old, each.symbol, table.name)


class _Change(NamedTuple):
    """What becomes of the rows of one symbol: how many are absent, how many differ, their first and last session."""

    symbol: str
    absent: int
    differing: int
    session: date | None
    last_session: date | None


def _merge(
    connection: Connection, statements: "_Statements", batch: "Batch", run_id: str | None, keep: sa.Insert | None
) -> list[_Change]:
    """Write what is absent and what differs, by way of a temporary table; `keep` stores what is replaced before."""
    connection.execute(statements.create)
    _copy(connection, statements.incoming.name, batch)
    changes = [_Change(*row) for row in connection.execute(statements.compare)]
    absent, differing = sum(change.absent for change in changes), sum(change.differing for change in changes)
    if differing and keep is not None:
        connection.execute(keep, {"run_id": run_id})
    if differing:
        connection.execute(statements.update)
    if absent:
        connection.execute(statements.insert if absent < batch.rows else statements.insert_all)
    connection.execute(statements.drop)
    return changes


def _copy(connection: Connection, name: str, batch: "Batch") -> None:
    from psycopg import sql

    from financehub_dagster.storage.upsert.binary_copy import encode

    statement = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier(name))
    with raw_cursor(connection) as cursor, cursor.copy(statement) as target:
        for piece in encode(batch.fields, batch.rows):
            target.write(piece)


@dataclass(frozen=True)
class _Statements:
    """The SQL of one table's writes."""

    incoming: sa.Table
    create: sa.schema.CreateTable
    drop: sa.schema.DropTable
    compare: sa.Select[Any]
    keep: sa.Insert
    keep_changes: sa.Insert
    update: sa.Update
    insert: sa.Insert
    insert_all: sa.Insert


@cache
def _statements(table: sa.Table) -> _Statements:
    key = [column.name for column in table.primary_key.columns]
    values = [column.name for column in table.columns if column.name not in key]
    compared = [name for name in values if name not in _stamps(table)]
    incoming = sa.Table(
        f"incoming_{table.name}",
        sa.MetaData(),
        *(sa.Column(column.name, column.type) for column in table.columns),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    same_key = sa.and_(*(table.c[name] == incoming.c[name] for name in key))
    differs = sa.or_(sa.false(), *(table.c[name].is_distinct_from(incoming.c[name]) for name in compared))
    names, rows = list(incoming.c.keys()), sa.select(*incoming.c)
    return _Statements(
        incoming,
        sa.schema.CreateTable(incoming),
        sa.schema.DropTable(incoming),
        _compare(table, incoming, same_key, differs),
        _keep(table, incoming, same_key, differs),
        _keep(table, incoming, same_key, differs, changes_only=True),
        sa.update(table).values({name: incoming.c[name] for name in values}).where(same_key, differs),
        sa.insert(table).from_select(names, rows.where(~sa.exists().where(same_key))),
        sa.insert(table).from_select(names, rows),
    )


def _compare(
    table: sa.Table, incoming: sa.Table, same_key: sa.ColumnElement[bool], differs: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """One row per symbol that changes: how many rows are absent, how many differ, their first and last session."""
    is_absent = table.c[table.primary_key.columns.keys()[0]].is_(None)
    symbol = incoming.c.symbol if "symbol" in incoming.c else sa.cast(sa.null(), sa.Text)
    count = sa.func.count()
    return (
        sa.select(
            symbol.label("symbol"),
            count.filter(is_absent).label("absent"),
            count.filter(~is_absent).label("differing"),
            sa.func.min(_session(incoming)).label("session"),
            sa.func.max(_session(incoming)).label("last_session"),
        )
        .select_from(sa.outerjoin(incoming, table, same_key))
        .where(sa.or_(is_absent, differs))
        .group_by(symbol)
    )


def _session(table: sa.Table) -> sa.ColumnElement[date]:
    """The session a row belongs to: the UTC day of its time, NULL where rows have none."""
    time = days.time_column(table)
    return sa.cast(sa.null(), sa.Date) if time is None else days.day_of(time)


def _keep(
    table: sa.Table,
    incoming: sa.Table,
    same_key: sa.ColumnElement[bool],
    differs: sa.ColumnElement[bool],
    *,
    changes_only: bool = False,
) -> sa.Insert:
    """Copy the stored rows that are about to be replaced to price_revisions.

    They count as replaced from now on, or from the new row's stamp on where a clock ahead of the server's made it:
    at no time is neither of them known.
    """
    old: sa.ColumnElement[Any] = sa.func.to_jsonb(table.table_valued(), type_=JSONB)
    for name in ("symbol", "date"):
        old = old.op("-", return_type=JSONB())(sa.cast(name, sa.Text))
    if changes_only:
        old = _changes(table, incoming, old)
    symbol = table.c.get("symbol", sa.null())
    replaced_at = sa.func.greatest(sa.func.now(), *(incoming.c[name] for name in _stamps(table)))
    values = {
        "table_name": sa.literal(table.name),
        "symbol": symbol,
        "date": _session(table),
        "old": old,
        "replaced_at": replaced_at,
        "run_id": sa.bindparam("run_id", type_=sa.Text),
    }
    rows = sa.select(*values.values()).select_from(sa.join(incoming, table, same_key)).where(differs)
    return sa.insert(schema.price_revisions).from_select(list(values), rows)


def _changes(table: sa.Table, incoming: sa.Table, old: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Of the stored row `old` its key, its stamps and the values that the incoming row replaces."""
    always = {*table.primary_key.columns.keys(), *_stamps(table)}
    names = [column.name for column in table.columns if column.name not in always]
    same = [sa.case((table.c[name].is_not_distinct_from(incoming.c[name]), name)) for name in names]
    return old.op("-", return_type=JSONB())(sa.cast(array(same), ARRAY(sa.Text)))


def _stamps(table: sa.Table) -> list[str]:
    return [column.name for column in table.columns if column.info.get("stamp")]
