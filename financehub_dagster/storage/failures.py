"""The dead letters: failed work that waits for its next try or for a person.

Belongs here: recording, resolving and reading them. Does not belong here: trying again.

A piece of work (task, partition, symbol) has at most one live row; failing again raises its attempts.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from financehub_dagster.storage.engine import Connection
from financehub_dagster.storage.tables import task_failures as table

FIRST_WAIT_SECONDS = 60
"""Wait before the first retry; doubles with each attempt."""
RETRIES = 5
"""After so many retries that failed too, the work is parked."""
LIVE = ("open", "retrying", "parked")


def record_failure(
    connection: Connection,
    *,
    task_name: str,
    partition_key: str = "",
    symbol: str = "",
    provider: str | None = None,
    kwargs: Mapping[str, object] | None = None,
    exception: str,
    traceback: str | None = None,
    run_id: str | None = None,
) -> None:
    """Write failed work down, or raise the attempts of its live row; a second report of the same run changes nothing.

    The next retry is due 60·2ⁿ s after the n-th retry; after five the work is parked. exception and traceback have to
    be free of secrets already.
    """
    statement = insert(table).values(
        task_name=task_name,
        partition_key=partition_key,
        symbol=symbol,
        provider=provider,
        kwargs=dict(kwargs or {}),
        exception=exception,
        traceback=traceback,
        next_retry_at=_due(sa.literal(1)),
        run_id=run_id,
    )
    attempts = table.c.attempts + 1
    given_up = sa.or_(table.c.status == "parked", attempts > RETRIES)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.task_name, table.c.partition_key, table.c.symbol],
            index_where=sa.text("status in ('open','retrying','parked')"),
            set_={
                "attempts": attempts,
                "status": sa.case((given_up, "parked"), else_="open"),
                "next_retry_at": sa.case((given_up, sa.null()), else_=_due(attempts)),
                "last_failed_at": sa.func.now(),
                **{name: new[name] for name in ("provider", "kwargs", "exception", "traceback", "run_id")},
            },
            where=sa.or_(new.run_id.is_(None), table.c.run_id.is_distinct_from(new.run_id)),
        )
    )


def resolve_failures(
    connection: Connection, *, task_name: str, partition_key: str, symbols: Sequence[str] | None = None
) -> int:
    """Close the live rows of work that has succeeded, of `symbols` or of the whole partition; returns how many."""
    done = sa.update(table).where(
        table.c.task_name == task_name, table.c.partition_key == partition_key, table.c.status.in_(LIVE)
    )
    if symbols is not None:
        done = done.where(table.c.symbol == sa.any_(sa.cast(list(symbols), sa.ARRAY(sa.Text))))
    return connection.execute(done.values(status="resolved", next_retry_at=None)).rowcount


def live_failures(connection: Connection, task_name: str | None = None) -> list[dict[str, object]]:
    """The live rows of a task, or of all, the latest failure first: all columns but the traceback."""
    query = sa.select(*(column for column in table.c if column is not table.c.traceback)).where(
        table.c.status.in_(LIVE)
    )
    if task_name is not None:
        query = query.where(table.c.task_name == task_name)
    rows = connection.execute(query.order_by(table.c.last_failed_at.desc(), table.c.id.desc()))
    return [dict(row) for row in rows.mappings()]


def _due(attempts: sa.ColumnElement[int]) -> sa.ColumnElement[datetime]:
    seconds = FIRST_WAIT_SECONDS * sa.func.power(2, attempts - 1)
    return sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
