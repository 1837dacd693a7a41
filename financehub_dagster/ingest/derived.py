"""From stored bars to stored indicators: the engine behind indicators_daily.

Belongs here: which rows a run has to write so that every stored value equals the one over the full history. Does not
belong here: formulas (market.indicators) and SQL.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import batched
from logging import Logger
from typing import TYPE_CHECKING

from financehub_dagster.ingest.concurrency import at_once
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import BARS_OF, Universe
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.dead_letters import dead_letters
from financehub_dagster.storage.lineage import stale_inputs
from financehub_dagster.storage.queries import bars, history
from financehub_dagster.storage.upsert import upsert, withdrawals

if TYPE_CHECKING:
    import numpy as np

NAME = "indicators_daily"

BATCH = 25
"""Instruments per read, compute and write: 25 × 10 years × 27 columns are 14 MB."""
ABREAST = 2
"""Batches under way at once: PostgreSQL takes the rows of one while the other is read, computed or taken too."""


def update_indicators(window: Window, universe: Universe, run_id: str, log: Logger) -> Outcome:
    """Compute over full histories and store the rows of the window, and those that changed inputs made stale."""
    outcome = Outcome(NAME)
    batches = (
        (table, [instrument.symbol for instrument in batch])
        for table, kinds in BARS_OF.items()
        for batch in batched(universe.instruments(kinds), BATCH)
    )
    with closing(at_once(partial(_update, window=window, run_id=run_id), batches, ABREAST)) as parts:
        for part in parts:
            outcome.include(part)
            log.info(f"{NAME}: {len(outcome.done)} instruments done, {len(outcome.failures)} failed")
    return outcome


def _update(batch: tuple[str, Sequence[str]], window: Window, run_id: str) -> Outcome:
    table, symbols = batch
    return store(computed(table, symbols, window), window, run_id)


@dataclass(frozen=True)
class Computed:
    """A batch before it is written.

    table: where its bars are; dirty: the marks as they were before the bars were read; wrong: why instruments were not
    computed; found: those with bars; columns: the rows to write.
    """

    table: str
    symbols: Sequence[str]
    dirty: Mapping[str, stale_inputs.Mark] = field(repr=False)
    wrong: Mapping[str, str] = field(repr=False)
    found: Sequence[str] = field(repr=False)
    columns: "Mapping[str, np.ndarray]" = field(repr=False)


def computed(table: str, symbols: Sequence[str], window: Window) -> Computed:
    """What `window` needs of `symbols`, all of the table of bars `table`, computed but not yet written."""
    with transaction() as connection:
        return _compute(connection, table, symbols, window)


def _compute(connection: Connection, table: str, symbols: Sequence[str], window: Window) -> Computed:
    import numpy as np
    import pandas as pd

    from financehub_dagster.market.indicators import engine

    # Marks first: a bar that changes after this raises its mark, which then outlives the write.
    dirty = stale_inputs.read_marks(connection, NAME, symbols)
    stored = bars.read_bars(connection, table, symbols)
    wrong = _wrong_bars(stored)
    if wrong:
        stored = bars.read_bars(connection, table, [symbol for symbol in symbols if symbol not in wrong])
    wanted = _wanted(connection, stored, window, dirty)
    used = ~_untraded(connection, table, stored)
    # The range of a doubtful bar is widened to its open and close: ratios within the range keep their bounds.
    high = np.maximum(stored.high, np.maximum(stored.open, stored.close))
    low = np.minimum(stored.low, np.minimum(stored.open, stored.close))
    arrays = (stored.open, high, low, stored.close, stored.volume)
    if used.all():
        values = engine.compute_many(stored.offsets, *arrays)
    else:
        offsets = np.append(0, np.cumsum(used))[stored.offsets]
        values = {}
        for name, known in engine.compute_many(offsets, *(array[used] for array in arrays)).items():
            values[name] = np.full(len(used), np.nan)
            values[name][used] = known
    names = np.repeat(np.array(stored.symbols, dtype=object), np.diff(stored.offsets))
    columns = {"symbol": names, "date": stored.date, **values}
    if not wanted.all():
        columns = {name: column[wanted] for name, column in columns.items()}
    columns["computed_at"] = np.full(len(columns["date"]), pd.Timestamp.now("UTC").to_datetime64())
    return Computed(table, symbols, dirty, wrong, stored.symbols, columns)


def store(batch: Computed, window: Window, run_id: str) -> Outcome:
    """Write a batch and all that follows from it, in one transaction.

    A bar that changed since it was read may have been recomputed by another run already, whose rows must not be
    overwritten: such a batch is computed again, in turn with all other writers of its instruments.
    """
    return in_transaction(partial(_store, batch=batch, window=window, run_id=run_id))


def _store(connection: Connection, batch: Computed, window: Window, run_id: str) -> Outcome:
    locks.lock_table(connection, schema.indicators_daily, batch.symbols)
    if stale_inputs.marked_since(connection, NAME, batch.symbols, batch.dirty):
        batch = _compute(connection, batch.table, batch.symbols, window)
    stale = {symbol: mark.dirty_from for symbol, mark in batch.dirty.items() if mark.dirty_from is not None}
    withdrawals.drop_derived(connection, NAME, batch.table, stale, run_id=run_id)
    written = upsert.write(
        connection,
        schema.indicators_daily,
        batch.columns,
        run_id=run_id,
        keep_revisions=True,
        changes_only=True,
        locked=True,
    )
    clean = {symbol: mark for symbol, mark in batch.dirty.items() if symbol not in batch.wrong}
    stale_inputs.clear_marks(connection, NAME, clean)
    _settle(connection, batch.symbols, window, run_id, batch.wrong)
    outcome, found = Outcome(NAME, failures=dict(batch.wrong)), set(batch.found)
    outcome.add(written)
    outcome.done += [symbol for symbol in batch.symbols if symbol in found]
    outcome.empty += [symbol for symbol in batch.symbols if symbol not in found and symbol not in batch.wrong]
    return outcome


def _settle(
    connection: Connection, symbols: Sequence[str], window: Window, run_id: str, wrong: Mapping[str, str]
) -> None:
    """Dead letters and ledger follow what was computed: the last act of the transaction."""
    from financehub_dagster.storage.coverage import ledger

    key = window.partition_key
    days = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    dead_letters.record_failures(
        connection,
        (
            dead_letters.Failure(
                NAME, f"WrongBar: {reason}", key, symbol, kwargs={"symbols": [symbol], **days}, run_id=run_id
            )
            for symbol, reason in wrong.items()
        ),
    )
    done = [symbol for symbol in symbols if symbol not in wrong]
    dead_letters.resolve_failures(connection, task_name=NAME, partition_key=key, symbols=done)
    ledger.settle(connection, NAME, symbols, window.start, window.end, datetime.now(UTC))


def _wanted(
    connection: Connection, stored: bars.BarArrays, window: Window, dirty: Mapping[str, stale_inputs.Mark]
) -> "np.ndarray":
    """Which bars get their row written: those asked for, and of the others those behind a changed bar and stored."""
    import numpy as np

    wanted = (stored.date >= np.datetime64(window.start)) & (stored.date <= np.datetime64(window.end))
    rows = {
        symbol: slice(stored.offsets[number], stored.offsets[number + 1])
        for number, symbol in enumerate(stored.symbols)
    }
    behind = {
        symbol: mark.dirty_from
        for symbol, mark in dirty.items()
        if symbol in rows
        and mark.dirty_from is not None
        and (~wanted[rows[symbol]] & (stored.date[rows[symbol]] >= np.datetime64(mark.dirty_from))).any()
    }
    for symbol, dates in history.stored_dates(connection, NAME, behind).items():
        wanted[rows[symbol]] |= np.isin(stored.date[rows[symbol]], dates)
    return wanted


def _untraded(connection: Connection, table: str, stored: bars.BarArrays) -> "np.ndarray":
    """Which bars are no trades: of one price and without volume, on a day without session. Their row is all NULL."""
    import numpy as np

    from financehub_dagster.market.quality import series

    found = series.flat_without_volume(stored.open, stored.high, stored.low, stored.close, stored.volume)
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


def _wrong_bars(stored: bars.BarArrays) -> dict[str, str]:
    """Instruments with a stored bar that breaks a quality rule, and which one; they are not computed from."""
    import numpy as np

    from financehub_dagster.market.quality import bar_rules

    arrays = {**{name: getattr(stored, name) for name in bars.PRICES}, "adj_close": np.full(len(stored.date), np.nan)}
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
