"""Longer bars that vendors send themselves, for days of which nobody keeps minutes any more.

Belongs here: fetching and storing bars of 5 minutes, a quarter of an hour or an hour. Does not belong here: bars made
of minutes (`longer_bars`), which is how all newer ones are stored. Imports numpy: import it inside functions.

Only days before an instrument's first minutes are asked for. `source` names the vendor that sent the bar.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from logging import Logger

import numpy as np

from financehub_dagster.gateway.errors import NotInPlan
from financehub_dagster.gateway.request_context import counting
from financehub_dagster.ingest.acceptance import accept, write
from financehub_dagster.ingest.intraday.minutes import MinutesRun, in_hours
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.intraday.trading_hours import TradingHours, trading_hours
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.storage.coverage import minute_rows
from financehub_dagster.storage.coverage.minutes import Settled, instant
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries import minutes
from financehub_dagster.tables import TABLES

CHUNK = 30 * 86_400
"""Seconds asked for at once; a run that is killed loses one chunk."""


def fetch_longer_bars(work: MinutesRun, table: str, instrument: Instrument, log: Logger) -> Outcome:
    """Store the bars of `table` within the run's window that no minutes make; raises ProviderError.

    A chunk that is stored at both ends is not asked for again. What no vendor keeps is left out.
    """
    outcome = Outcome(table)
    for start, stop in _chunks(work, table, instrument):
        first, after = (datetime.fromtimestamp(at, UTC) for at in (start, stop))
        with counting() as sent:
            found = work.router.intraday_bars([instrument], TABLES[table].bar_minutes, first, after)
        outcome.calls += sent.requests
        error = found.failed.get(instrument.symbol)
        if isinstance(error, NotInPlan):
            log.info(f"{table}: {instrument.symbol}: {error}")
            continue
        if error is not None:
            raise error
        got = found.answers[instrument.symbol]
        outcome.include(in_transaction(partial(_store, work, table, instrument, got)))
    outcome.done.append(instrument.symbol)
    return outcome


def _chunks(work: MinutesRun, table: str, instrument: Instrument) -> Iterator[tuple[int, int]]:
    start, stop = work.span
    symbol, hours = instrument.symbol, trading_hours(instrument)
    with transaction() as connection:
        known = minute_rows.read(connection, [symbol]).get(symbol)
    if known is not None and known.first is not None:
        stop = min(stop, _first_kept(known, hours))
    while start < stop:
        end = min(start + CHUNK, stop)
        if hours.count(instant(start), instant(end)) and not _is_stored(table, symbol, start, end, instrument):
            yield start, end
        start = end


def _first_kept(known: Settled, hours: TradingHours) -> int:
    """The end of what is confirmed to be kept by nobody, from the first minute that was asked for on."""
    end = known.first or 0
    for each in known.stretches:
        if each.is_gap or hours.count(instant(end), instant(each.start)):
            break
        end = each.stop
    return end


def _is_stored(table: str, symbol: str, start: int, stop: int, instrument: Instrument) -> bool:
    """Whether bars of the first and of the last session within [start, stop) are stored."""
    hours = trading_hours(instrument).between(instant(start), instant(stop))
    with transaction() as connection:
        stored = minutes.read(connection, table, {symbol: (instant(start), instant(stop))}).ts
    if not stored.size:
        return False
    first, last = hours.days[0], hours.days[-1]
    return bool(np.isin([first, last], hours.session_of(stored)).all())


def _store(work: MinutesRun, table: str, instrument: Instrument, got: IntradayBars, connection: Connection) -> Outcome:
    outcome = Outcome(table)
    locks.lock_table(connection, schema.table(table), [instrument.symbol])
    rows = in_hours([(instrument, got)], outcome)
    if rows is not None:
        good, rejected = accept(connection, table, rows, work.run_id)
        outcome.rejected += len(rejected)
        outcome.add(write(connection, table, good, work.run_id, locked=True))
    return outcome
