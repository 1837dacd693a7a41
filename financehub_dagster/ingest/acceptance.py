"""Taking rows into a table as its declaration says, or writing down why not.

Belongs here: judging frames that are about to be written to any table, recording what is left out of them, and writing
the others. Does not belong here: the rules (market), and how rows are written (storage.upsert).
"""

from typing import TYPE_CHECKING, Any

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.upsert import rejected_rows, upsert
from financehub_dagster.tables import TABLES, derived_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd

_TIMES = ("ts", "quoted_at", "published_at", "fetched_at")
"""What dates a row without a date of its own, the first that is known."""


def accept(
    connection: Connection, table: str, rows: "pd.DataFrame", run_id: str
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """The rows that `table` takes, and those it does not with the `rule` they break, which go to rejected_rows.

    rows has the columns of the table, `symbols` in place of `symbol` where they are articles. A value that breaks its
    column's limit and may be unknown is NULL in the row that is taken; that row, as it was sent, is recorded too.
    """
    from financehub_dagster.market.quality import acceptance

    declared = TABLES[table]
    good, rejected, unread = acceptance.judge(declared.limits, declared.rules, rows)
    for part in (rejected, unread):
        if len(part):
            rejected_rows.record_rejections(connection, table, _named(part), run_id=run_id)
    return good, rejected


def write(
    connection: Connection,
    table: str,
    rows: "pd.DataFrame | Mapping[str, np.ndarray]",
    run_id: str,
    *,
    locked: bool = False,
    changes_only: bool = False,
) -> upsert.WriteResult:
    """Store the columns of `rows` that `table` has; what is replaced is kept if it is declared so.

    What is computed from the table is marked. locked, changes_only: as in `upsert.write`.
    """
    declared = schema.table(table)
    return upsert.write(
        connection,
        declared,
        {column.name: _array(rows[column.name]) for column in declared.c if column.name in rows},
        run_id=run_id,
        keep_revisions=table in TABLES and TABLES[table].keep_revisions,
        changes_only=changes_only,
        derived=derived_from(table),
        locked=locked,
    )


def _array(values: Any) -> "np.ndarray":
    """Instants as numpy has them, which pandas would give out as objects, one for each row."""
    import numpy as np
    import pandas as pd

    return np.asarray(values, "datetime64[us]" if isinstance(values.dtype, pd.DatetimeTZDtype) else None)


def _named(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Rows with a symbol and a day."""
    import pandas as pd

    if "symbols" in rows:
        rows = rows.assign(symbol=rows["symbols"].str[0].fillna("")).drop(columns="symbols")
    day = rows["date"] if "date" in rows else pd.Series(pd.NaT, rows.index, dtype="datetime64[us]")
    for name in _TIMES:
        if name in rows and day.isna().any():
            times = rows[name].dt.tz_convert("UTC").dt.tz_localize(None).dt.normalize()
            day = day.astype(times.dtype).fillna(times)
    return rows.assign(date=day)
