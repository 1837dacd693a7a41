"""The rows of the ledger of minutes: `minute_coverage` and `minute_gaps`, for many instruments at once.

Belongs here: SQL. Does not belong here: what should be in them (`minutes`). Imports numpy: import it inside functions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market.calendar_source import Instants
from financehub_dagster.storage.coverage.minutes import Settled, Stretch
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.array_parameters import any_of, insert_rows, side_by_side
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries.bars import fetch_packed
from financehub_dagster.storage.queries.minutes import EPOCH, packed
from financehub_dagster.tables import INTRADAY

[TABLE] = INTRADAY
"""The table that the ledger of minutes is about."""


def hold(connection: Connection, symbols: Sequence[str]) -> None:
    """Lock the ledger of minutes for these instruments, until the transaction ends."""
    locks.lock_table(connection, schema.minute_coverage, symbols)


def read(connection: Connection, symbols: Sequence[str] | None = None) -> dict[str, Settled]:
    """What is settled of `symbols` (None: of all); those without an answer so far are left out."""
    rows, gaps = schema.minute_coverage.c, schema.minute_gaps.c
    stretches: dict[str, list[Stretch]] = {}
    query = sa.select(gaps.symbol, gaps.start, gaps.stop, gaps.asked, gaps.provider, gaps.next_ask_at)
    query = query if symbols is None else query.where(gaps.symbol == any_of(symbols))
    for symbol, start, stop, asked, provider, again in connection.execute(query.order_by(gaps.symbol, gaps.start)):
        stretches.setdefault(symbol, []).append(Stretch(_seconds(start), _seconds(stop), asked, provider, again))
    settled = sa.select(rows.symbol, rows.first, rows.complete_to, rows.asked_at)
    settled = settled if symbols is None else settled.where(rows.symbol == any_of(symbols))
    return {
        symbol: Settled(_seconds(first), _seconds(complete_to), asked_at, tuple(stretches.get(symbol, ())))
        for symbol, first, complete_to, asked_at in connection.execute(settled)
    }


def save(connection: Connection, before: Mapping[str, Settled], after: Mapping[str, Settled]) -> None:
    """Replace the rows of those instruments of `after` that differ from `before`; the caller holds the ledger."""
    changed = {symbol: each for symbol, each in after.items() if each.first is not None and before.get(symbol) != each}
    if not changed:
        return
    rows: list[dict[str, object]] = [
        {
            "symbol": symbol,
            "first": _time(each.first),
            "complete_to": _time(each.complete_to),
            "asked_at": each.asked_at,
        }
        for symbol, each in changed.items()
    ]
    written = insert_rows(schema.minute_coverage, rows)
    settled = {name: written.excluded[name] for name in ("first", "complete_to", "asked_at")}
    connection.execute(written.on_conflict_do_update(index_elements=[schema.minute_coverage.c.symbol], set_=settled))
    moved = [symbol for symbol, each in changed.items() if before.get(symbol, Settled()).stretches != each.stretches]
    if not moved:
        return
    connection.execute(sa.delete(schema.minute_gaps).where(schema.minute_gaps.c.symbol == any_of(moved)))
    gaps: list[dict[str, object]] = [
        {**asdict(each), "symbol": symbol, "start": _time(each.start), "stop": _time(each.stop)}
        for symbol in moved
        for each in changed[symbol].stretches
    ]
    if gaps:
        connection.execute(insert_rows(schema.minute_gaps, gaps))


def stored(
    connection: Connection,
    spans: Mapping[str, tuple[int, int]],
    sources: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Instants]:
    """The stored minutes of each symbol from the first to before the second of its instants, in no order.

    sources: by symbol the providers whose minutes count; None: all.
    """
    nothing: Instants = np.zeros(0, "datetime64[s]")
    found = dict.fromkeys(spans, nothing)
    asked = {symbol: (_time(start), _time(stop)) for symbol, (start, stop) in spans.items()}
    for symbol, data in fetch_packed(connection, packed(TABLE, asked, (), *_told_by(sources))):
        found[symbol] = (EPOCH + np.frombuffer(data, ">i8").astype("timedelta64[us]")).astype("datetime64[s]")
    return found


def _told_by(sources: Mapping[str, Sequence[str]] | None) -> Iterator[sa.ColumnElement[bool]]:
    if sources is not None:
        bars, pairs = schema.table(TABLE).c, [(symbol, name) for symbol, names in sources.items() for name in names]
        named = side_by_side(
            symbol=([symbol for symbol, _ in pairs], sa.Text), source=([name for _, name in pairs], sa.Text)
        ).alias("named")
        yield sa.exists().where(named.c.symbol == bars.symbol, named.c.source == bars.source)


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
