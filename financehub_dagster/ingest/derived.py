"""From stored bars to the tables computed from them: the engine behind every derived table.

Belongs here: which rows a run has to write so that every stored value equals the one over the full history. Does not
belong here: formulas (the function that a table declares), and SQL.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, partial
from importlib import import_module
from itertools import batched
from logging import Logger
from typing import TYPE_CHECKING

from financehub_dagster.ingest.acceptance import write
from financehub_dagster.ingest.concurrency import at_once
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.market.bar_arrays import PRICES, BarArrays
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.dead_letters import dead_letters
from financehub_dagster.storage.lineage import stale_inputs
from financehub_dagster.storage.queries import bars, history
from financehub_dagster.storage.upsert import withdrawals
from financehub_dagster.tables import BARS_OF, DERIVED, TABLES, period_of
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from financehub_dagster.market.derived import DerivedRows

BATCH = 25
"""Instruments per read, compute and write: 25 × 10 years × 27 columns are 14 MB."""
ABREAST = 2
"""Batches under way at once: PostgreSQL takes the rows of one while the other is read, computed or taken too."""


def update_derived(name: str, window: Window, universe: Universe, run_id: str, log: Logger) -> Outcome:
    """Compute table `name` over full histories and store the rows of the window, and those with changed inputs."""
    outcome = Outcome(name)
    batches = (
        (source, [instrument.symbol for instrument in batch])
        for source in DERIVED[name].inputs
        for batch in batched(universe.instruments(TABLES[source].instruments), BATCH)
    )

    def update(batch: tuple[str, Sequence[str]]) -> Outcome:
        return store(computed(name, *batch, window), window, run_id)

    with closing(at_once(update, batches, ABREAST)) as parts:
        for part in parts:
            outcome.include(part)
            log.info(f"{name}: {counted(len(outcome.done), 'instrument')} done, {len(outcome.failures)} failed")
    return outcome


@dataclass(frozen=True)
class Computed:
    """A batch of table `name` before it is written.

    source: where its bars are; dirty: the marks as they were before the bars were read; wrong: why instruments were not
    computed; found: those with bars; columns: the rows to write.
    """

    name: str
    source: str
    symbols: Sequence[str]
    dirty: Mapping[str, stale_inputs.Mark] = field(repr=False)
    wrong: Mapping[str, str] = field(repr=False)
    found: Sequence[str] = field(repr=False)
    columns: "Mapping[str, np.ndarray]" = field(repr=False)


def computed(name: str, source: str, symbols: Sequence[str], window: Window) -> Computed:
    """What `window` of table `name` needs of `symbols`, whose bars are in `source`, computed but not yet written."""
    with transaction() as connection:
        return _compute(connection, name, source, symbols, window)


@cache
def _function(name: str) -> "Callable[..., DerivedRows]":
    module, _, function = DERIVED[name].function.partition(":")
    found: Callable[..., DerivedRows] = getattr(import_module(module), function)
    return found


def _time(table: str) -> str:
    """The column that places a row in time."""
    return TABLES[table].time or "date"


def _read(connection: Connection, source: str, symbols: Sequence[str]) -> BarArrays:
    """All stored bars of `symbols`; those within the day are dated by their opening instants."""
    if _time(source) == "date":
        return bars.read_bars(connection, source, symbols)
    import numpy as np

    from financehub_dagster.storage.queries import minutes

    ever = np.datetime64("1970-01-01", "s"), np.datetime64("2200-01-01", "s")
    found = minutes.read(connection, source, dict.fromkeys(symbols, ever))
    counts = np.bincount(found.rows, minlength=len(symbols))
    there = [symbol for symbol, count in zip(symbols, counts.tolist(), strict=True) if count]
    offsets = np.append(0, np.cumsum(counts[counts > 0]))
    return BarArrays(there, offsets, found.ts, *found.ohlcv)


def made_of(connection: Connection, name: str, source: str, stored: BarArrays) -> "DerivedRows":
    """The rows of table `name` that the bars `stored`, of table `source`, make."""
    if _time(source) == "ts":
        import numpy as np

        return _function(name)(stored, np.ones(len(stored.date), np.bool_), _session_of_each(connection, stored))
    traded = ~_untraded(connection, source, stored)
    if not DERIVED[name].sessions:
        return _function(name)(stored, traded)
    return _function(name)(stored, traded, _sessions(connection, source, stored))


def _session_of_each(connection: Connection, stored: BarArrays) -> "np.ndarray":
    """The date of the session that each bar within the day belongs to; the UTC day of one outside of all sessions."""
    import numpy as np

    from financehub_dagster.market.intraday.trading_hours import trading_hours
    from financehub_dagster.storage.queries.instruments import list_instruments

    found = stored.date.astype("datetime64[D]")
    members = list_instruments(connection, symbols=stored.symbols, active=None, all_known=False)
    for each in members:
        own = slice(*stored.offsets[stored.symbols.index(each.symbol) :][:2])
        days = trading_hours(each, assume=True).session_of(stored.date[own])
        found[own] = np.where(np.isnat(days), found[own], days)
    return found


def _sessions(connection: Connection, source: str, stored: BarArrays) -> "Sequence[np.ndarray]":
    """The session dates of each instrument, from its first stored bar to some weeks after its last."""
    from financehub_dagster.market.levels import next_trade_dates
    from financehub_dagster.storage.queries.instruments import list_instruments

    if not len(stored.date):
        return [stored.date for _ in stored.symbols]
    found = list_instruments(connection, BARS_OF[source], stored.symbols, active=None, all_known=False)
    by_symbol = {each.symbol: each for each in found}
    first, last = stored.date.min().item(), stored.date.max().item()
    return next_trade_dates([by_symbol[symbol] for symbol in stored.symbols], first, last)


def _compute(connection: Connection, name: str, source: str, symbols: Sequence[str], window: Window) -> Computed:
    import numpy as np
    import pandas as pd

    # Marks first: a bar that changes after this raises its mark, which then outlives the write.
    dirty = stale_inputs.read_marks(connection, name, symbols)
    stored = _read(connection, source, symbols)
    wrong = _wrong_bars(stored)
    if wrong:
        stored = _read(connection, source, [symbol for symbol in symbols if symbol not in wrong])
    rows = made_of(connection, name, source, stored)
    wanted = _wanted(connection, name, stored.symbols, rows, window, dirty)
    columns = {
        "symbol": np.array(stored.symbols, dtype=object)[rows.instruments],
        _time(name): rows.date,
        **rows.values,
    }
    if not wanted.all():
        columns = {column: values[wanted] for column, values in columns.items()}
    columns["computed_at"] = np.full(len(columns["symbol"]), pd.Timestamp.now("UTC").to_datetime64())
    return Computed(name, source, symbols, dirty, wrong, stored.symbols, columns)


def store(batch: Computed, window: Window, run_id: str) -> Outcome:
    """Write a batch and all that follows from it, in one transaction.

    A bar that changed since it was read may have been recomputed by another run already, whose rows must not be
    overwritten: such a batch is computed again, in turn with all other writers of its instruments.
    """
    return in_transaction(partial(_store, batch=batch, window=window, run_id=run_id))


def _store(connection: Connection, batch: Computed, window: Window, run_id: str) -> Outcome:
    name = batch.name
    locks.lock_table(connection, schema.table(name), batch.symbols)
    if stale_inputs.marked_since(connection, name, batch.symbols, batch.dirty):
        batch = _compute(connection, name, batch.source, batch.symbols, window)
    stale = {symbol: mark.dirty_from for symbol, mark in batch.dirty.items() if mark.dirty_from is not None}
    withdrawn = 0
    if _time(name) == "date":  # bars within the day are never withdrawn
        withdrawn += withdrawals.drop_derived(connection, name, batch.source, period_of(name), stale, run_id=run_id)
    written = write(connection, name, batch.columns, run_id, changes_only=True, locked=True)
    if DERIVED[name].sparse:
        withdrawn += _withdraw_absent(connection, batch, window, stale, run_id)
    clean = {symbol: mark for symbol, mark in batch.dirty.items() if symbol not in batch.wrong}
    stale_inputs.clear_marks(connection, name, clean)
    _settle(connection, batch, window, run_id)
    outcome, found = Outcome(name, withdrawn=withdrawn, failures=dict(batch.wrong)), set(batch.found)
    outcome.add(written)
    outcome.done += [symbol for symbol in batch.symbols if symbol in found]
    outcome.empty += [symbol for symbol in batch.symbols if symbol not in found and symbol not in batch.wrong]
    return outcome


def _withdraw_absent(
    connection: Connection, batch: Computed, window: Window, stale: Mapping[str, date], run_id: str
) -> int:
    """Take out the rows of a sparse table that were stored in what was computed, and are no longer computed."""
    computed = [symbol for symbol in batch.symbols if symbol not in batch.wrong]
    spans = [(symbol, window.start, window.end) for symbol in computed]
    spans += [(symbol, stale[symbol], date.max) for symbol in computed if symbol in stale]
    return withdrawals.drop_absent(connection, batch.name, batch.source, batch.columns, spans, run_id=run_id)


def _settle(connection: Connection, batch: Computed, window: Window, run_id: str) -> None:
    """Dead letters and ledger follow what was computed: the last act of the transaction."""
    from financehub_dagster.storage.coverage import ledger

    name, key = batch.name, window.partition_key
    days = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    dead_letters.record_failures(
        connection,
        (
            dead_letters.Failure(
                name, f"WrongBar: {reason}", key, symbol, kwargs={"symbols": [symbol], **days}, run_id=run_id
            )
            for symbol, reason in batch.wrong.items()
        ),
    )
    done = [symbol for symbol in batch.symbols if symbol not in batch.wrong]
    dead_letters.resolve_failures(connection, task_name=name, partition_key=key, symbols=done)
    ledger.settle(connection, name, batch.symbols, window.start, window.end, datetime.now(UTC))


def _wanted(
    connection: Connection,
    name: str,
    symbols: Sequence[str],
    rows: "DerivedRows",
    window: Window,
    dirty: Mapping[str, stale_inputs.Mark],
) -> "np.ndarray":
    """Which rows get written: those asked for, and of the others those that are stored and have a changed input.

    Of a sparse table all rows with a changed input.
    """
    import numpy as np

    from financehub_dagster.market.derived import period_start

    dates = rows.date.astype("datetime64[D]")
    wanted = (dates >= np.datetime64(window.start)) & (dates <= np.datetime64(_last_date(name, window)))
    since = {
        symbol: period_start(period_of(name), mark.dirty_from)
        for symbol, mark in dirty.items()
        if mark.dirty_from is not None
    }
    starts = np.array([since.get(symbol, np.datetime64("NaT")) for symbol in symbols], "datetime64[D]")
    behind = ~wanted & (dates >= starts[rows.instruments])
    if _time(name) == "ts" or DERIVED[name].sparse:
        return wanted | behind  # every bar within the day has its row, and of a sparse table all rows are written
    concerned = {symbols[number]: since[symbols[number]] for number in np.unique(rows.instruments[behind])}
    for symbol, dates in history.stored_dates(connection, name, concerned).items():
        wanted |= behind & (rows.instruments == symbols.index(symbol)) & np.isin(rows.date, dates)
    return wanted


def _last_date(name: str, window: Window) -> date:
    """The last date of a row that the window asks for: if it reaches today, the row of a session still to come too.

    The row of the next session is made of the bar of one that has closed.
    """
    ahead = period_of(name) == "next session" and window.end >= datetime.now(UTC).date()
    return date.max if ahead else window.end


def _untraded(connection: Connection, table: str, stored: BarArrays) -> "np.ndarray":
    """Which bars are no trades: of one price and without volume, on a day without session. Their row is all NULL."""
    import numpy as np

    flat = (stored.high == stored.low) & (stored.open == stored.high) & (stored.close == stored.high)
    found: np.ndarray = flat & (stored.volume == 0)
    if not found.any():
        return found
    from financehub_dagster.market import calendars
    from financehub_dagster.storage.queries.instruments import list_instruments

    untraded = np.zeros(len(found), np.bool_)
    rows = np.repeat(np.arange(len(stored.symbols)), np.diff(stored.offsets))
    at_issue = [stored.symbols[number] for number in np.unique(rows[found])]
    for instrument in list_instruments(connection, BARS_OF[table], at_issue, active=None, all_known=False):
        own = slice(*stored.offsets[stored.symbols.index(instrument.symbol) :][:2])
        days = stored.date[own]
        end = min(days[-1].item(), calendars.known_to(instrument))
        sessions = calendars.known(instrument, days[0].item(), end).dates
        untraded[own] = found[own] & (days <= np.datetime64(end)) & ~np.isin(days, sessions)
    return untraded


def _wrong_bars(stored: BarArrays) -> dict[str, str]:
    """Instruments with a stored bar that breaks a quality rule, and which one; they are not computed from."""
    import numpy as np

    from financehub_dagster.market.quality import bar_rules

    arrays = {**{name: getattr(stored, name) for name in PRICES}, "adj_close": np.full(len(stored.date), np.nan)}
    # A frame of bars costs as much as their indicators, and nearly always nothing is wrong.
    if bar_rules.all_kept(arrays.__getitem__, bar_rules.RULES):
        return {}
    _, rejected = bar_rules.judge(stored.frame())
    return {
        str(
            row.symbol
        ): f"bar of {row.date:%Y-%m-%d} breaks {row.rule}; fetch it again with: financehub update {row.symbol}"
        for row in rejected.drop_duplicates("symbol").itertuples()
    }
