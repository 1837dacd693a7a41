"""Work that was deferred because no vendor accepts requests before a time: a spent budget, a ban, an open breaker.

Belongs here: putting off, settling and reading it. Does not belong here: doing it once it is due. Put-off work is not
failed work: it is no dead letter and counts no attempts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import sqlalchemy as sa

from financehub_dagster.storage.database import locks
from financehub_dagster.storage.database.array_parameters import any_of, insert_rows
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.schema import deferred_work as table
from financehub_dagster.storage.dead_letters.dead_letters import within


@dataclass(frozen=True)
class Deferral:
    """One instrument's work that waits until `until` (aware) for `provider`, the vendor that can be asked first.

    reason is free of secrets already; kwargs is what the work was called with.
    """

    task_name: str
    partition_key: str
    symbol: str
    provider: str
    until: datetime
    reason: str
    kwargs: Mapping[str, object] = field(default_factory=dict)
    run_id: str | None = None


def defer(connection: Connection, deferrals: Iterable[Deferral]) -> None:
    """Put work off; work that waits already gets the new time and reason."""
    latest = {(each.task_name, each.partition_key, each.symbol): each for each in deferrals}
    if not latest:
        return
    locks.lock_table(connection, table)
    statement = insert_rows(table, [vars(each) for each in latest.values()])
    renewed = ("provider", "until", "reason", "kwargs", "run_id")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.task_name, table.c.partition_key, table.c.symbol],
            set_={"deferred_at": sa.func.now(), **{name: statement.excluded[name] for name in renewed}},
        )
    )


def resolve_deferrals(connection: Connection, task_name: str, first: date, last: date, symbols: Sequence[str]) -> int:
    """Forget the put-off work of `symbols` whose partitions lie within `first` to `last`; returns how much.

    It was done, or is a dead letter now. first and last are the first and the last day that was asked for.
    """
    if not symbols:
        return 0
    locks.lock_table(connection, table)
    settled = sa.delete(table).where(
        table.c.task_name == task_name,
        table.c.symbol == any_of(symbols),
        within(table.c.partition_key, first.isoformat(), last.isoformat()),
    )
    return connection.execute(settled).rowcount


def live_deferrals(connection: Connection, task_name: str | None = None) -> list[dict[str, object]]:
    """The put-off work of a task, or of all, what is due first first: all columns."""
    query = sa.select(table).order_by(table.c.until, table.c.task_name, table.c.symbol, table.c.partition_key)
    if task_name is not None:
        query = query.where(table.c.task_name == task_name)
    return [dict(row) for row in connection.execute(query).mappings()]
