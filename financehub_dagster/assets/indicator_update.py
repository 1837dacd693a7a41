"""From stored bars to stored indicators: the engine behind indicators_daily.

Belongs here: which rows a run has to write so that every stored value equals the one over the full history. Does not
belong here: formulas (market.indicators) and SQL.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from logging import Logger
from typing import TYPE_CHECKING

from financehub_dagster.assets.config import BARS_OF, Universe
from financehub_dagster.assets.outcome import Outcome
from financehub_dagster.assets.partitions import Window
from financehub_dagster.storage import bars, failures, history, marks, tables, writer
from financehub_dagster.storage.engine import Connection, transaction

if TYPE_CHECKING:
    import numpy as np

NAME = "indicators_daily"

# Instruments per read, compute and write: 100 × 10 years × 27 columns are 55 MB.
BATCH = 100


def update_indicators(window: Window, universe: Universe, run_id: str, log: Logger) -> Outcome:
    """Compute over full histories and store the rows of the window, and those that changed inputs made stale."""
    outcome = Outcome(NAME)
    for table, kinds in BARS_OF.items():
        for batch in batched(universe.instruments(kinds), BATCH):
            with transaction() as connection:
                _update_batch(connection, table, [i.symbol for i in batch], window, run_id, outcome)
            log.info(f"{NAME}: {len(outcome.done)} instruments done, {len(outcome.failures)} failed")
    return outcome


def _update_batch(
    connection: Connection, table: str, symbols: Sequence[str], window: Window, run_id: str, outcome: Outcome
) -> None:
    import numpy as np
    import pandas as pd

    from financehub_dagster.market.indicators import engine

    dirty = marks.read_marks(connection, NAME, symbols)
    stored = bars.read_bars(connection, table, symbols)
    wrong = _wrong_bars(stored)
    if wrong:
        stored = bars.read_bars(connection, table, [symbol for symbol in symbols if symbol not in wrong])
    wanted = np.zeros(len(stored.date), dtype=bool)
    for number, symbol in enumerate(stored.symbols):
        own = slice(stored.offsets[number], stored.offsets[number + 1])
        wanted[own] = _stale(connection, stored.date[own], window, symbol, dirty.get(symbol))
    values = engine.compute_many(stored.offsets, stored.open, stored.high, stored.low, stored.close, stored.volume)
    names = np.repeat(np.array(stored.symbols, dtype=object), np.diff(stored.offsets))
    columns = {"symbol": names[wanted], "date": stored.date[wanted]}
    columns |= {name: column[wanted] for name, column in values.items()}
    columns["computed_at"] = np.full(int(wanted.sum()), pd.Timestamp.now("UTC").to_datetime64())
    outcome.add(writer.write(connection, tables.indicators_daily, columns, run_id=run_id, keep_revisions=False))
    outcome.failures |= wrong
    outcome.done += [symbol for symbol in symbols if symbol in stored.symbols]
    outcome.empty += [symbol for symbol in symbols if symbol not in stored.symbols and symbol not in wrong]
    marks.clear_marks(connection, NAME, {symbol: m for symbol, m in dirty.items() if symbol not in wrong})
    _settle(connection, symbols, window, run_id, wrong)


def _settle(
    connection: Connection, symbols: Sequence[str], window: Window, run_id: str, wrong: Mapping[str, str]
) -> None:
    """Dead letters and ledger follow what was computed: the last act of the transaction."""
    from financehub_dagster.storage import ledger

    key = window.partition_key
    for symbol, reason in wrong.items():
        kwargs = {"symbols": [symbol], "start": window.start.isoformat(), "end": window.end.isoformat()}
        failures.record_failure(
            connection,
            task_name=NAME,
            partition_key=key,
            symbol=symbol,
            kwargs=kwargs,
            exception=f"WrongBar: {reason}",
            run_id=run_id,
        )
    done = [symbol for symbol in symbols if symbol not in wrong]
    failures.resolve_failures(connection, task_name=NAME, partition_key=key, symbols=done)
    ledger.settle(connection, NAME, symbols, window.start, window.end, datetime.now(UTC))


def _stale(
    connection: Connection, dates: "np.ndarray", window: Window, symbol: str, mark: marks.Mark | None
) -> "np.ndarray":
    """Which of an instrument's bars get their row written: those asked for, and stored ones behind a changed bar."""
    import numpy as np

    asked = (dates >= np.datetime64(window.start)) & (dates <= np.datetime64(window.end))
    if mark is None:
        return asked
    there = history.stored_dates(connection, NAME, symbol, mark.dirty_from)
    return asked | np.isin(dates, np.array(there, dtype="datetime64[D]"))


def _wrong_bars(stored: bars.BarArrays) -> dict[str, str]:
    """Instruments with a stored bar that breaks a quality rule, and which one; they are not computed from."""
    from financehub_dagster.market import quality

    _, rejected = quality.judge(stored.frame())
    return {
        str(
            row.symbol
        ): f"bar of {row.date:%Y-%m-%d} breaks {row.rule}; fetch it again with: financehub update {row.symbol}"
        for row in rejected.drop_duplicates("symbol").itertuples()
    }
