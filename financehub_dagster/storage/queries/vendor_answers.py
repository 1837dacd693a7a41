"""What vendors answered for an instrument's sessions beside the bars that are stored.

Belongs here: refused rows, empty answers and corporate actions by vendor, within a span. Does not belong here: what of
it is an error (market.quality.vendor_errors), and one session's whole story (`explanations`).
"""

from datetime import date, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection

if TYPE_CHECKING:
    import pandas as pd

type Refused = tuple[str, date, str, dict[str, object], datetime]
"""The vendor, the day, the rule that is broken, the row, and when it was refused."""

_EMPTY = sa.text("""
    SELECT provider, CAST(day AS date)
    FROM empty_answers, unnest(sessions * CAST(:span AS datemultirange)) AS days,
        generate_series(lower(days), upper(days) - 1, interval '1 day') AS day
    WHERE table_name = :table AND symbol = :symbol AND sessions && CAST(:span AS datemultirange)
""")


def refused(connection: Connection, table: str, symbol: str, span: tuple[date, date]) -> list[Refused]:
    """The rows of a table that were refused."""
    rows = schema.rejected_rows.c
    query = sa.select(rows.source, rows.date, rows.rule, rows.row, rows.rejected_at).where(
        rows.table_name == table, rows.symbol == symbol, rows.date.between(*span)
    )
    return [tuple(row) for row in connection.execute(query)]


def empty(connection: Connection, table: str, symbol: str, span: tuple[date, date]) -> set[tuple[str, date]]:
    """The vendors that had no bar, each with the day."""
    asked = {"table": table, "symbol": symbol, "span": f"{{[{span[0]},{span[1]}]}}"}
    return {(vendor, day) for vendor, day in connection.execute(_EMPTY, asked)}


def actions(connection: Connection, symbol: str, span: tuple[date, date | None], *kinds: str) -> "pd.DataFrame":
    """date, kind, value and source of the stored actions of these kinds within `span`; None: up to the last one."""
    import pandas as pd

    first, last = span
    rows = schema.actions.c
    query = sa.select(rows.date, rows.kind, rows.value, rows.source).where(
        rows.symbol == symbol,
        rows.date >= first,
        rows.kind == any_of(kinds),
        *(() if last is None else (rows.date <= last,)),
    )
    return pd.read_sql_query(query.order_by(rows.date), connection, parse_dates=["date"])
