"""Archived rows under the symbols that instruments have now: files keep those of the time they were written.

Belongs here: the change of one column. Does not belong here: reading files. Imports pyarrow: import it inside
functions.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from financehub_dagster.storage.queries import days
from financehub_dagster.storage.queries.given_up import GivenUp


def needed(table: sa.Table, wanted: pa.Schema) -> pa.Schema:
    """The columns `wanted`, and the time if it is not among them."""
    time = days.require_time(table).name
    return wanted if time in wanted.names else wanted.append(pa.field(time, pa.timestamp("us", "UTC")))


def under_present_symbols(table: sa.Table, rows: pa.Table, given_up: Sequence[GivenUp]) -> pa.Table:
    """`rows` with symbols that were given up replaced; of one that another instrument has now, up to its last day."""
    if not given_up or not rows.num_rows:
        return rows
    symbols, times = rows["symbol"], rows[days.require_time(table).name]
    for each in given_up:
        own = pc.equal(symbols, each.old)
        if each.reused:
            after = datetime(each.until.year, each.until.month, each.until.day, tzinfo=UTC) + timedelta(days=1)
            own = pc.and_(own, pc.less(times, pa.scalar(after, pa.timestamp("us", "UTC"))))
        symbols = pc.if_else(own, each.symbol, symbols)
    return rows.set_column(rows.column_names.index("symbol"), rows.schema.field("symbol"), symbols)
