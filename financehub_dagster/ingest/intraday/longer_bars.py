"""From stored minutes to bars of 5 minutes, a quarter of an hour and an hour, in the transaction of the minutes.

Belongs here: which bars a change of minutes calls for, and writing them. Does not belong here: cutting bars
(`market.intraday.resampling`), and fetching minutes (`intraday`). Imports numpy: import it inside functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from financehub_dagster.ingest.acceptance import write
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.market.bar_arrays import PRICES
from financehub_dagster.market.calendar_source import Instants
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.intraday import resampling
from financehub_dagster.market.intraday.resampling import LENGTHS, DerivedBars
from financehub_dagster.market.intraday.trading_hours import TradingHours
from financehub_dagster.storage.coverage.minutes import Settled, instant
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.queries import minutes
from financehub_dagster.tables import TABLES, filled_with

_LONGEST = max(LENGTHS)


@dataclass(frozen=True)
class Change:
    """Minutes of one instrument from `start` to `stop` were settled anew, by an answer of `source`.

    settled: the ledger afterwards.
    """

    instrument: Instrument
    hours: TradingHours
    start: int
    stop: int
    settled: Settled
    source: str
    fetched_at: datetime


def tables_by_length(table: str) -> dict[int, str]:
    """The tables of longer bars made of the minutes of `table`, by their length in minutes."""
    return {TABLES[name].bar_minutes: name for name in filled_with(table) if TABLES[name].bar_minutes}


def write_longer_bars(connection: Connection, table: str, changes: Sequence[Change], run_id: str) -> dict[str, Outcome]:
    """Write every final bar that ends within what changed and overlaps no gap; returns what became of each table.

    The caller has locked the instruments in the tables concerned, and written the minutes.
    """
    tables = tables_by_length(table)
    outcomes = {name: Outcome(name) for name in tables.values()}
    due = [change for change in changes if _any_ends(change)]
    if not due:
        return outcomes
    spans = {each.instrument.symbol: (_opening(each), _end(each)) for each in due}
    stored = minutes.read(connection, table, spans)
    complete = np.array([each.settled.complete_to for each in due], np.int64).astype("datetime64[s]")
    made = resampling.resample(stored, [each.hours for each in due], tuple(tables), complete)
    for length, name in tables.items():
        outcomes[name].add(write(connection, name, _columns(made[length], due), run_id, locked=True))
    return outcomes


def _opening(change: Change) -> np.datetime64:
    """When the longest bar opens that the first changed minute lies in."""
    first = change.hours.minutes(instant(change.start), instant(change.stop))[:1]
    opened = resampling.bar_opening(change.hours, first, _LONGEST)
    return opened[0] if opened.size else instant(change.start)


def _end(change: Change) -> np.datetime64:
    """After the last minute of the bars that the last changed minute lies in."""
    return instant(change.stop + _LONGEST * 60)


def _any_ends(change: Change) -> bool:
    """Whether a bar may have become final, or changed: the shortest one ends within what changed, or at its end."""
    first = change.hours.minutes(instant(change.start), instant(change.stop))
    if not first.size:
        return False
    opened = resampling.bar_opening(change.hours, first[[0]], min(LENGTHS))[0]
    complete = instant(change.settled.complete_to or 0)
    after = opened + np.timedelta64(min(LENGTHS) * 60, "s")
    place = change.hours.interval_of(first[[0]])[0]
    return bool(min(after, change.hours.stops[place]) <= complete)


def _columns(made: DerivedBars, changes: Sequence[Change]) -> Mapping[str, np.ndarray]:
    """The bars to write, as columns of their table."""
    bars = made.bars
    starts = np.array([each.start for each in changes], np.int64).astype("datetime64[s]")
    stops = np.array([each.stop for each in changes], np.int64).astype("datetime64[s]")
    wanted = made.final & (made.ends > starts[bars.rows]) & (bars.ts < stops[bars.rows])
    wanted &= ~_overlaps_gap(bars.rows, bars.ts, made.ends, changes)
    kept = bars.where(wanted)
    symbols = np.array([each.instrument.symbol for each in changes], object)
    sources = np.array([each.source for each in changes], object)
    fetched = np.array([each.fetched_at.replace(tzinfo=None) for each in changes], "datetime64[us]")
    return {
        "symbol": symbols[kept.rows],
        "ts": kept.ts,
        **dict(zip(PRICES, kept.ohlcv, strict=True)),
        "source": sources[kept.rows],
        "fetched_at": fetched[kept.rows],
    }


def _overlaps_gap(rows: np.ndarray, opens: Instants, ends: Instants, changes: Sequence[Change]) -> np.ndarray:
    """Which bars hold a minute that is missing and not confirmed empty."""
    found = np.zeros(rows.size, bool)
    for number, change in enumerate(changes):
        for gap in change.settled.unknown:
            found |= (rows == number) & (opens < instant(gap.stop)) & (ends > instant(gap.start))
    return found
