"""Taking a vendor's rows into a table, or writing down why not.

Belongs here: judging frames that are about to be written to any table, and recording what is left out of them.
Does not belong here: the rules (market), and writing what is taken.
"""

from typing import TYPE_CHECKING

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.upsert import rejected_rows
from financehub_dagster.tables import TABLES

if TYPE_CHECKING:
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
