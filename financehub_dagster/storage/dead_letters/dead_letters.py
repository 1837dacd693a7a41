"""The dead letters: failed work that waits for its next try or for a person.

Belongs here: recording, resolving, discarding and reading them. Does not belong here: trying again (replays).

A piece of work (task, partition range, symbol) has at most one live row; failing again raises its attempts. An empty
symbol stands for a whole step: its instruments are kwargs' `symbols`, all of them where that is null.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from financehub_dagster.storage.database import locks
from financehub_dagster.storage.database.array_parameters import any_id, any_of, rows_of
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.schema import Instant
from financehub_dagster.storage.database.schema import task_failures as table
from financehub_dagster.storage.queries.partition_keys import RANGE, ends_of

FIRST_WAIT_SECONDS = 60
"""Wait before the first retry; doubles with each attempt."""
RETRIES = 5
"""After so many retries that failed too, the work is parked."""
EXCEPTION_CHARACTERS, TRACEBACK_CHARACTERS = 2_000, 20_000
"""How much is kept of either: the beginning of what went wrong, and the end of where."""
LIVE = ("open", "retrying", "parked")
WITHOUT_TRACEBACK = [column for column in table.c if column is not table.c.traceback]


@dataclass(frozen=True)
class Failure:
    """A piece of work that failed, why, and what it was called with; all text is free of secrets already.

    A late reporter says `since` when the run went on: work that has failed again, or was settled, since then is left
    alone.
    """

    task_name: str
    exception: str
    partition_key: str = ""
    symbol: str = ""
    provider: str | None = None
    kwargs: Mapping[str, object] = field(default_factory=dict)
    traceback: str | None = None
    run_id: str | None = None
    since: datetime | None = None

    @property
    def work(self) -> tuple[str, str, str]:
        """What the live row of this work is found by."""
        return self.task_name, self.partition_key, self.symbol


def record_failures(connection: Connection, failures: Iterable[Failure]) -> None:
    """Write failed work down, or raise the attempts of its live rows; a second report of the same run changes nothing.

    The next retry is due 60·2ⁿ s after the n-th retry; after five the work is parked. Of several failures of the same
    work the last one counts. A whole step that failed for other instruments than its live row is about joins that row,
    whose attempts begin anew.
    """
    latest: dict[tuple[str, str, str], Failure] = {}
    for failure in failures:
        latest[failure.work] = _joined(latest.get(failure.work), failure)
    if not latest:
        return
    locks.lock_table(connection, table)
    types = {name.name: table.c[name.name].type for name in fields(Failure) if name.name != "since"}
    rows = rows_of([_row(failure) for failure in latest.values()], {**types, "since": Instant})
    new_rows = sa.select(*(rows.c[name] for name in types), _due(sa.literal(1))).where(~_failed_since(rows))
    statement = insert(table).from_select([*types, "next_retry_at"], new_rows)
    new = statement.excluded
    known = _includes(table.c.kwargs, new.kwargs)
    first = {"attempts": 1, "status": "open", "next_retry_at": _due(sa.literal(1))}
    again = {name: sa.case((known, value), else_=first.get(name, value)) for name, value in failed_again().items()}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.task_name, table.c.partition_key, table.c.symbol],
            index_where=sa.text("status in ('open','retrying','parked')"),
            set_={
                **again,
                **{name: new[name] for name in ("provider", "exception", "traceback", "run_id")},
                "kwargs": _union(new.kwargs),
            },
            where=sa.or_(new.run_id.is_(None), table.c.run_id.is_distinct_from(new.run_id)),
        )
    )


def _joined(known: Failure | None, failure: Failure) -> Failure:
    """The later of two failures of the same work, about the instruments of both where it is a whole step."""
    if known is None or failure.symbol:
        return failure
    before, now = known.kwargs.get("symbols"), failure.kwargs.get("symbols")
    both = sorted({*before, *now}) if isinstance(before, list) and isinstance(now, list) else None
    return replace(failure, kwargs={**failure.kwargs, "symbols": both})


def _row(failure: Failure) -> dict[str, object]:
    exception, where = failure.exception[:EXCEPTION_CHARACTERS], failure.traceback
    return {**vars(failure), "exception": exception, "traceback": where and where[-TRACEBACK_CHARACTERS:]}


def failed_again() -> dict[str, Any]:
    """The columns of a live row after one more failure: open until its next retry, or parked after the last."""
    attempts = table.c.attempts + 1
    given_up = sa.or_(table.c.status == "parked", attempts > RETRIES)
    return {
        "attempts": attempts,
        "status": sa.case((given_up, "parked"), else_="open"),
        "next_retry_at": sa.case((given_up, sa.null()), else_=_due(attempts)),
        "last_failed_at": sa.func.now(),
        "replay_run_id": sa.null(),
    }


def resolve_failures(
    connection: Connection, *, task_name: str, partition_key: str, symbols: Sequence[str] | None = None
) -> int:
    """Close the live rows of work that has succeeded, whichever way it was done; returns how many.

    That is every row whose partitions lie within `partition_key` and whose instrument is one of `symbols`, or whose
    instruments all are; with symbols None every row within the partitions.
    """
    lies_within = within(table.c.partition_key, *ends_of(partition_key))
    done = [table.c.task_name == task_name, table.c.status.in_(LIVE), lies_within]
    if symbols is not None:
        done.append(sa.or_(table.c.symbol == any_of(symbols), sa.and_(table.c.symbol == "", _all_among(symbols))))
    return _close(connection, "resolved", *done)


def resolve_step(connection: Connection, *, task_name: str, partition_key: str, symbols: Sequence[str] | None) -> int:
    """Close the live rows of whole steps, after one over `symbols` (None: all) has succeeded; returns how many.

    Instruments that failed in it have rows of their own, which stay.
    """
    lies_within = within(table.c.partition_key, *ends_of(partition_key))
    done = [table.c.task_name == task_name, table.c.symbol == "", table.c.status.in_(LIVE), lies_within]
    if symbols is not None:
        done.append(_all_among(symbols))
    return _close(connection, "resolved", *done)


def discard_failures(connection: Connection, ids: Sequence[int], reason: str) -> list[int]:
    """Close live rows for good without their work being done, noting why; returns those that were live."""
    locks.lock_table(connection, table)
    change = (
        sa.update(table)
        .where(table.c.id == any_id(ids), table.c.status.in_(LIVE))
        .values(
            status="discarded",
            next_retry_at=None,
            replay_run_id=None,
            exception=sa.literal(f"discarded, {reason}; ") + table.c.exception,
        )
    )
    return list(connection.execute(change.returning(table.c.id)).scalars())


def live_failures(connection: Connection, task_name: str | None = None) -> list[dict[str, object]]:
    """The live rows of a task, or of all, the latest failure first: all columns but the traceback."""
    return list_failures(connection, statuses=LIVE, task_name=task_name)


def list_failures(
    connection: Connection,
    *,
    statuses: Sequence[str] | None = None,
    task_name: str | None = None,
    symbol: str | None = None,
) -> list[dict[str, object]]:
    """Rows of these statuses and this task, the latest failure first: all columns but the traceback.

    symbol: only the work on this instrument, alone or within a whole step.
    """
    query = sa.select(*WITHOUT_TRACEBACK)
    if statuses is not None:
        query = query.where(table.c.status.in_(statuses))
    if task_name is not None:
        query = query.where(table.c.task_name == task_name)
    if symbol is not None:
        query = query.where(sa.or_(table.c.symbol == symbol, sa.and_(table.c.symbol == "", _may_include(symbol))))
    rows = connection.execute(query.order_by(table.c.last_failed_at.desc(), table.c.id.desc()))
    return [dict(row) for row in rows.mappings()]


def task_names(connection: Connection) -> list[str]:
    """The tables and tasks that have failed work, settled or not, in order."""
    return list(connection.execute(sa.select(table.c.task_name).distinct().order_by(table.c.task_name)).scalars())


def read_failures(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """All columns of these rows by id but the traceback; ids without a row are left out."""
    rows = connection.execute(sa.select(*WITHOUT_TRACEBACK).where(table.c.id == any_id(ids)).order_by(table.c.id))
    return {row["id"]: dict(row) for row in rows.mappings()}


def read_traceback(connection: Connection, number: int) -> str | None:
    """Where the work of a row failed, if that was recorded."""
    return connection.execute(sa.select(table.c.traceback).where(table.c.id == number)).scalar()


def delete_settled(connection: Connection, older_than: timedelta) -> int:
    """Delete the resolved and discarded rows that failed longer ago than that; returns how many."""
    locks.lock_table(connection, table)
    old = sa.delete(table).where(
        table.c.status.in_(("resolved", "discarded")), table.c.last_failed_at < sa.func.now() - older_than
    )
    return connection.execute(old).rowcount


def _failed_since(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    same = (table.c[name] == rows.c[name] for name in ("task_name", "partition_key", "symbol"))
    included = _includes(table.c.kwargs, rows.c.kwargs)
    return sa.exists().where(*same, table.c.last_failed_at >= rows.c.since, included)


def _includes(kwargs: sa.ColumnElement[Any], other: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether the instruments of one call include those of another; without a list they are all."""
    own, others = kwargs["symbols"], other["symbols"]
    among = others.op("<@", return_type=sa.Boolean())(own)
    return sa.or_(
        sa.func.jsonb_typeof(own).is_distinct_from("array"), sa.and_(sa.func.jsonb_typeof(others) == "array", among)
    )


def _union(new: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The new arguments of a live row, about its instruments and the new ones where both are lists, else about all."""
    old, added = table.c.kwargs["symbols"], new["symbols"]
    lists = sa.and_(sa.func.jsonb_typeof(old) == "array", sa.func.jsonb_typeof(added) == "array")
    each = sa.func.jsonb_array_elements(old.op("||", return_type=JSONB())(added)).column_valued("each")
    both = sa.select(sa.func.jsonb_agg(sa.distinct(each))).scalar_subquery()
    path = sa.cast(["symbols"], sa.ARRAY(sa.Text))
    named = sa.case((lists, both), else_=sa.literal_column("'null'::jsonb", JSONB))
    has_names = new.op("?", return_type=sa.Boolean())("symbols")
    return sa.case((has_names, sa.func.jsonb_set(new, path, named, type_=JSONB)), else_=new)


def _close(connection: Connection, status: str, *which: sa.ColumnElement[bool]) -> int:
    locks.lock_table(connection, table)
    change = sa.update(table).where(*which)
    return connection.execute(change.values(status=status, next_retry_at=None, replay_run_id=None)).rowcount


def within(keys: sa.ColumnElement[str], first: str, last: str) -> sa.ColumnElement[bool]:
    """Whether the partitions that `keys` stand for lie within `first` to `last`.

    Keys of one table sort as text, as ISO dates do.
    """
    own_first = sa.func.split_part(keys, RANGE, 1)
    own_last = sa.func.coalesce(sa.func.nullif(sa.func.split_part(keys, RANGE, 2), ""), own_first)
    return sa.and_(sa.collate(own_first, "C") >= first, sa.collate(own_last, "C") <= last)


def _all_among(symbols: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a step's instruments are known and all among `symbols`."""
    named = table.c.kwargs["symbols"]
    return sa.and_(
        sa.func.jsonb_typeof(named) == "array",
        named.op("<@", return_type=sa.Boolean())(sa.cast(list(symbols), JSONB)),
    )


def _may_include(symbol: str) -> sa.ColumnElement[bool]:
    """Whether `symbol` is one of a step's instruments, or these are all."""
    named = table.c.kwargs["symbols"]
    of_all = sa.func.coalesce(sa.func.jsonb_typeof(named) != "array", sa.true())
    return sa.or_(of_all, named.op("@>", return_type=sa.Boolean())(sa.cast([symbol], JSONB)))


def _due(attempts: sa.ColumnElement[int]) -> sa.ColumnElement[datetime]:
    seconds = FIRST_WAIT_SECONDS * sa.func.power(2, attempts - 1)
    return sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
