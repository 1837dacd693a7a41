"""The ledger of minutes computed anew from the stored minutes.

Belongs here: what stored minutes say of the settled span and the open stretches of each instrument. Does not belong
here: the arithmetic of one answer (`minutes`), SQL on the rows (`minute_rows`). Imports numpy: import it inside
functions.

How often vendors were asked for a stretch cannot be read off the minutes, so stretches are kept where no minute of them
is stored. Minutes of archived months are in files, and remain settled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from itertools import batched

import numpy as np
import sqlalchemy as sa

from financehub_dagster.market.calendar_source import Instants
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.trading_hours import Flags, TradingHours, trading_hours
from financehub_dagster.storage.archive import files
from financehub_dagster.storage.coverage import minute_rows
from financehub_dagster.storage.coverage.minutes import MINUTE, MOST_UNKNOWN, Settled, Stretch, instant, missing_runs
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.array_parameters import any_of
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.month_partitions import month_bounds
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries.instruments import list_instruments
from financehub_dagster.tables import TABLES

BATCH = 50
"""Instruments of one transaction: the minutes of 50 cryptos in 90 days are 52 MB."""

type Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class _Extent:
    """The first and the last stored minute of an instrument, and when the last one was fetched."""

    first: int
    last: int
    fetched_at: datetime


def rebuild(now: datetime) -> int:
    """Compute the ledger of minutes of all active instruments anew; returns of how many it was wrong or missing.

    Each batch of instruments is a transaction of its own.
    """
    archived = [_seconds(month) for month in files.months(minute_rows.TABLE)]
    with transaction() as connection:
        members = list_instruments(connection, asset_types=TABLES[minute_rows.TABLE].instruments)
    return sum(in_transaction(partial(_rebuild, batch, now, archived)) for batch in batched(members, BATCH))


def _rebuild(members: Sequence[Instrument], now: datetime, archived: Spans, connection: Connection) -> int:
    symbols = [each.symbol for each in members]
    locks.lock_table(connection, schema.table(minute_rows.TABLE), symbols)
    minute_rows.hold(connection, symbols)
    before = minute_rows.read(connection, symbols)
    extents = _extents(connection, symbols)
    bounds = {symbol: _bounds(before.get(symbol), extents.get(symbol), now) for symbol in symbols}
    found = {symbol: each for symbol, each in bounds.items() if each is not None}
    spans = {symbol: (first, complete_to) for symbol, (first, complete_to, _) in found.items()}
    stored = minute_rows.stored(connection, spans) if spans else {}
    after: dict[str, Settled] = {}
    for each in (each for each in members if each.symbol in found):
        first, complete_to, asked_at = found[each.symbol]
        known = before.get(each.symbol, Settled())
        stretches = _stretches(each, known, (first, complete_to), np.sort(stored[each.symbol]), archived, now)
        after[each.symbol] = Settled(first, complete_to, asked_at, stretches)
    minute_rows.save(connection, before, after)
    return sum(before.get(symbol) != each for symbol, each in after.items())


def _bounds(known: Settled | None, extent: _Extent | None, now: datetime) -> tuple[int, int, datetime] | None:
    """From when to when an instrument is settled, and when a vendor answered last; None: never."""
    until = int(now.timestamp()) // MINUTE * MINUTE
    if known is None or known.first is None or known.complete_to is None:
        return None if extent is None else (extent.first, extent.last + MINUTE, extent.fetched_at)
    first, complete_to, asked_at = known.first, min(known.complete_to, until), known.asked_at or now
    if extent is not None:
        first, complete_to = min(first, extent.first), max(complete_to, extent.last + MINUTE)
    return min(first, complete_to), complete_to, asked_at


def _stretches(
    instrument: Instrument, known: Settled, span: tuple[int, int], have: Instants, archived: Spans, now: datetime
) -> tuple[Stretch, ...]:
    """What is not stored of the span: the known stretches where that is still so, and gaps that nobody knew of."""
    hours = trading_hours(instrument)
    kept = [part for each in known.stretches for part in _not_stored(each, span, have, hours)]
    expected = hours.minutes(instant(span[0]), instant(span[1]))
    excused = _within(expected, [*archived, *((each.start, each.stop) for each in kept)])
    counted = expected[~excused]
    often = 1.0 if instrument.asset_type is AssetType.CRYPTO else _how_often(counted, have)
    runs = missing_runs(*span, np.append(have, expected[excused]), hours, often)
    gaps = [Stretch(start, stop, next_ask_at=now) for start, stop in runs]
    return tuple(sorted([*kept, *gaps], key=lambda each: each.start))


def _not_stored(each: Stretch, span: tuple[int, int], have: Instants, hours: TradingHours) -> list[Stretch]:
    """The stretch if no minute of it is stored, else the parts of it that are not."""
    start, stop = max(each.start, span[0]), min(each.stop, span[1])
    if start >= stop:
        return []
    inside = have[(have >= instant(start)) & (have < instant(stop))]
    if not inside.size:
        return [replace(each, start=start, stop=stop)]
    runs = missing_runs(start, stop, inside, hours, often=1.0)
    return [replace(each, start=begin, stop=end) for begin, end in runs]


def _within(minutes: Instants, spans: Spans) -> Flags:
    found = np.zeros(minutes.size, bool)
    for start, stop in spans:
        found[np.searchsorted(minutes, instant(start)) : np.searchsorted(minutes, instant(stop))] = True
    return found


def _how_often(expected: Instants, have: Instants) -> float | None:
    """The share of the minutes in which the instrument traded; None where there are few."""
    traded = np.intersect1d(expected, have, assume_unique=True).size
    return traded / expected.size if traded and expected.size >= MOST_UNKNOWN else None


def _extents(connection: Connection, symbols: Sequence[str]) -> Mapping[str, _Extent]:
    """Two probes of the key for each instrument."""
    known, bars = schema.instruments.c.symbol, schema.table(minute_rows.TABLE).c
    own = sa.select(bars.ts, bars.fetched_at).where(bars.symbol == known).limit(1)
    oldest, newest = (own.order_by(order).lateral(name) for order, name in ((bars.ts, "a"), (bars.ts.desc(), "z")))
    query = (
        sa.select(known, oldest.c.ts, newest.c.ts, newest.c.fetched_at)
        .select_from(schema.instruments)
        .join(oldest, sa.true())
        .join(newest, sa.true())
        .where(known == any_of(symbols))
    )
    return {
        symbol: _Extent(int(first.timestamp()), int(last.timestamp()), fetched_at)
        for symbol, first, last, fetched_at in connection.execute(query)
    }


def _seconds(month: date) -> tuple[int, int]:
    first, after = month_bounds(month)
    return int(first.timestamp()), int(after.timestamp())
