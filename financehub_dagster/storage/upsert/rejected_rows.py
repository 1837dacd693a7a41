"""Rows a vendor sent that no table accepts.

Belongs here: writing them down. Does not belong here: the rules they break (market).
"""

import math
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import sqlalchemy as sa

from financehub_dagster.storage.database import locks
from financehub_dagster.storage.database.array_parameters import insert_rows, side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.schema import metadata, rejected_rows

if TYPE_CHECKING:
    import pandas as pd

SPLIT_NOT_APPLIED = "split_not_applied"
"""The rule broken by prices that a split was divided out of here, since the vendor had not done so."""

_KEY = ("table_name", "symbol", "date", "rule", "source")


def record_rejections(connection: Connection, table: str, rejected: "pd.DataFrame", *, run_id: str | None) -> int:
    """Write down the rows of `rejected` that are new, or that come with other values than last time; returns how many.

    rejected has the columns symbol, date, rule (what the row breaks) and source; all others are kept as the row. Locks
    the table as its writers do.
    """
    records = [
        _row(table, {str(k): v for k, v in each.items()}, run_id) for each in _nulls(rejected).to_dict("records")
    ]
    latest = {tuple(row[name] for name in _KEY): row for row in records}
    if not latest:
        return 0
    locks.lock_table(connection, metadata.tables[table])
    statement = insert_rows(rejected_rows, [latest[key] for key in sorted(latest)])
    recorded = statement.on_conflict_do_update(
        index_elements=[rejected_rows.c[name] for name in _KEY],
        set_={"row": statement.excluded.row, "run_id": statement.excluded.run_id, "rejected_at": sa.func.now()},
        where=rejected_rows.c.row.is_distinct_from(statement.excluded.row),
    )
    return len(connection.execute(recorded.returning(rejected_rows.c.id)).all())


def forget(connection: Connection, table: str, rule: str, reaches: Mapping[str, tuple[str, date, date]]) -> int:
    """Delete what broke `rule`, by symbol: of which source, from when and until when; returns how many rows."""
    sources, starts, ends = ([reach[place] for reach in reaches.values()] for place in range(3))
    asked = side_by_side(
        symbol=(list(reaches), sa.Text), source=(sources, sa.Text), start=(starts, sa.Date), stop=(ends, sa.Date)
    )
    rows = rejected_rows.c
    same = sa.and_(rows.symbol == asked.c.symbol, rows.source == asked.c.source)
    gone = sa.delete(rejected_rows).where(
        rows.table_name == table, rows.rule == rule, same, rows.date.between(asked.c.start, asked.c.stop)
    )
    return connection.execute(gone).rowcount


def _row(table: str, record: Mapping[str, object], run_id: str | None) -> dict[str, object]:
    day = record["date"]
    key = {"symbol": record["symbol"], "date": _day(day), "rule": record["rule"], "source": record["source"]}
    rest = {name: _plain(value) for name, value in record.items() if name not in _UNCOMPARED and name not in key}
    return {**key, "table_name": table, "row": rest, "run_id": run_id}


def _nulls(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows with None where a text or a time is missing; of numbers, NaN stays, which may be what was sent."""
    others = rows.select_dtypes(exclude="number").items()
    return rows.assign(**{str(name): column.astype(object).where(column.notna(), None) for name, column in others})


_UNCOMPARED = frozenset({"fetched_at", "computed_at"})
"""When a row was made does not make it another row."""


def _day(value: object) -> date:
    import pandas as pd

    return pd.Timestamp(value).date()  # type: ignore[arg-type]


def _plain(value: object) -> object:
    """A value as JSON can carry it; NaN and the infinities, which it lacks, by name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
