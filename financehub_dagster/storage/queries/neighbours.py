"""Stored bars next to ranges of sessions: what bars about to be written are judged among.

Belongs here: reading some bars before and after a range, of many instruments at once. Does not belong here: single
sessions at its edges (history), whole histories (bars).
"""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from psycopg import sql

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import Connection, raw_cursor

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("open", "high", "low", "close", "adj_close", "volume")

_SIDE = """
    SELECT number, string_agg(date_send(date) || {row}, ''::bytea) AS packed
    FROM unnest(%(symbols)s::text[], %(starts)s::date[], %(ends)s::date[])
        WITH ORDINALITY AS asked(symbol, start, stop, number)
    CROSS JOIN LATERAL (
        (SELECT * FROM {table} AS t WHERE t.symbol = asked.symbol AND t.date < asked.start
         ORDER BY t.date DESC LIMIT %(before)s)
        UNION ALL
        (SELECT * FROM {table} AS t WHERE t.symbol = asked.symbol AND t.date > asked.stop
         ORDER BY t.date LIMIT %(after)s)
    ) AS near GROUP BY number
"""
_ROW = " || ".join(f"float8send(coalesce(near.{name}, 'NaN'))" for name in COLUMNS)


def bars_around(
    connection: Connection, table: str, spans: Mapping[str, tuple[date, date]], before: int, after: int
) -> "pd.DataFrame":
    """Up to so many stored bars before and after each symbol's range: symbol, date and COLUMNS (adj_close may be NaN).

    In no order. The server packs them as `queries.bars` does.
    """
    import numpy as np
    import pandas as pd

    symbols = list(spans)
    statement = sql.SQL(_SIDE).format(row=sql.SQL(_ROW), table=sql.Identifier(schema.table(table).name))
    starts, ends = [span[0] for span in spans.values()], [span[1] for span in spans.values()]
    asked = {"symbols": symbols, "starts": starts, "ends": ends, "before": before, "after": after}
    with raw_cursor(connection, binary=True) as cursor:
        cursor.execute(statement, asked)
        found = cursor.fetchall()
    rows = np.dtype([("date", ">i4"), *((name, ">f8") for name in COLUMNS)])
    parsed = np.frombuffer(b"".join(packed for _, packed in found), rows)
    sizes = [len(packed) // rows.itemsize for _, packed in found]
    names = np.array([symbols[number - 1] for number, _ in found], object)
    return pd.DataFrame(
        {
            "symbol": np.repeat(names, sizes),
            "date": np.datetime64("2000-01-01", "s") + parsed["date"].astype("timedelta64[D]"),
            **{name: parsed[name].astype(np.float64) for name in COLUMNS},
        }
    )
