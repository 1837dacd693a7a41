"""Bars within the day as arrays.

Belongs here: reading many bars of many instruments at once. Does not belong here: writing them, and which of them are
missing (`storage.coverage.minute_rows`). Imports numpy: import it inside functions.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market.bar_arrays import PRICES
from financehub_dagster.market.intraday.resampling import IntradayBars
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.array_parameters import side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.bars import fetch_packed

type Spans = Mapping[str, tuple[np.datetime64, np.datetime64]]
"""By symbol, the first instant and the one after the last."""

EPOCH = np.datetime64("2000-01-01", "us")
_ROW = np.dtype([("ts", ">i8"), *((name, ">f8") for name in PRICES)])


def read(connection: Connection, table: str, spans: Spans) -> IntradayBars:
    """The bars of `table` that open within each symbol's span; rows are numbered in the order of `spans`."""
    symbols = list(spans)
    asked = {symbol: (_utc(start), _utc(stop)) for symbol, (start, stop) in spans.items()}
    found = dict(fetch_packed(connection, packed(table, asked, PRICES))) if symbols else {}
    parts = [np.frombuffer(found.get(symbol, b""), _ROW) for symbol in symbols]
    bars = np.concatenate(parts) if parts else np.zeros(0, _ROW)
    rows = np.repeat(np.arange(len(symbols)), [len(part) for part in parts])
    ts = (EPOCH + bars["ts"].astype("timedelta64[us]")).astype("datetime64[s]")
    order = np.lexsort((ts, rows))
    return IntradayBars.of(rows[order], ts[order], *(bars[name][order] for name in PRICES))


def packed(
    table: str, spans: Mapping[str, tuple[object, object]], names: Sequence[str], *also: sa.ColumnElement[bool]
) -> sa.Select[tuple[str, bytes]]:
    """Each symbol's bars within its span of which `also` is true: microseconds since EPOCH, then the columns `names`.

    The server packs them, after a probe of the key by symbol, in the months concerned alone.
    """
    bars = schema.table(table).c
    starts, stops = ([span[place] for span in spans.values()] for place in (0, 1))
    asked = side_by_side(
        symbol=(list(spans), sa.Text), start=(starts, schema.Instant), stop=(stops, schema.Instant)
    ).alias("asked")
    row: sa.ColumnElement[bytes] = sa.func.timestamptz_send(bars.ts, type_=sa.LargeBinary)
    for name in names:
        row = row.op("||", return_type=sa.LargeBinary())(sa.func.float8send(bars[name]))
    rows = sa.func.string_agg(row, sa.cast(b"", sa.LargeBinary), type_=sa.LargeBinary).label("packed")
    within = (bars.symbol == asked.c.symbol, bars.ts >= asked.c.start, bars.ts < asked.c.stop)
    own = sa.select(rows).where(*within, *also).lateral("own")
    return sa.select(asked.c.symbol, own.c.packed).join(own, sa.true()).where(own.c.packed.is_not(None))


def _utc(time: np.datetime64) -> object:
    at = time.item()
    return at.replace(tzinfo=UTC) if isinstance(at, datetime) else at
