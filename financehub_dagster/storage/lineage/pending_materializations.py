"""Committed writes whose run has not yet reported a materialization: what a run killed in between leaves behind.

Belongs here: noting a write in its own transaction, and taking the note away. Does not belong here: reporting.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.schema import unreported_writes as table


@dataclass(frozen=True)
class UnreportedWrite:
    """A run changed rows of a table from `first_date` to `last_date`, both sessions included."""

    table_name: str
    run_id: str
    first_date: date
    last_date: date
    written_at: datetime


def note_write(connection: Connection, table_name: str, run_id: str, first: date, last: date) -> None:
    """Note that `run_id` changes rows between two sessions; further writes of the run widen the span."""
    statement = insert(table).values(table_name=table_name, run_id=run_id, first_date=first, last_date=last)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.table_name, table.c.run_id],
            set_={
                "first_date": sa.func.least(table.c.first_date, new.first_date),
                "last_date": sa.func.greatest(table.c.last_date, new.last_date),
            },
        )
    )


def clear_notes(connection: Connection, run_id: str, table_names: list[str]) -> None:
    """Take away the notes of a run that has reported of these tables."""
    connection.execute(sa.delete(table).where(table.c.run_id == run_id, table.c.table_name == any_of(table_names)))


def runs_with_notes(connection: Connection) -> list[str]:
    """The runs that owe a report, the oldest write first."""
    query = sa.select(table.c.run_id).group_by(table.c.run_id).order_by(sa.func.min(table.c.written_at))
    return list(connection.execute(query).scalars())


@contextmanager
def settling(run_id: str) -> Iterator[list[UnreportedWrite]]:
    """The notes of a run that nobody else is settling; they are gone when the block ends without an error."""
    with transaction() as connection:
        locked = sa.select(table).where(table.c.run_id == run_id).with_for_update(skip_locked=True)
        notes = [UnreportedWrite(**row) for row in connection.execute(locked).mappings()]
        yield notes
        clear_notes(connection, run_id, [note.table_name for note in notes])
