"""From a vendor's answers to stored daily bars: the engine behind every daily price table.

Belongs here: the order of work for one run (ask, judge, write, settle) and restating after a split. Does not belong
here: vendors, SQL and Dagster's events.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import batched
from logging import Logger
from typing import TYPE_CHECKING

from financehub_dagster.assets.at_once import at_once
from financehub_dagster.assets.outcome import Outcome
from financehub_dagster.assets.partitions import Window
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.storage import failures, history, rejections, tables, writer
from financehub_dagster.storage.engine import Connection, transaction

if TYPE_CHECKING:
    import pandas as pd

# Instruments per write: a killed run loses at most this many answers, a write stays large enough to be cheap.
BATCH = 25


@dataclass(frozen=True)
class Work:
    """One run's order: which table, for which sessions, from whom, on whose behalf."""

    table: str
    router: DailyBarsRouter
    window: Window
    run_id: str


@dataclass(frozen=True)
class _Answer:
    """What became of the question about one instrument: `got`, or `error`."""

    instrument: Instrument
    got: DailyBars | None = None
    error: ProviderError | None = None
    calls: int = 0
    restated: bool = False


def update_prices(work: Work, instruments: Sequence[Instrument], log: Logger) -> tuple[Outcome, Outcome]:
    """Fetch and store the window for each instrument; returns the outcomes of the bars and of the corporate actions.

    An instrument that fails is recorded as a dead letter and reported; the others are stored. Batches are committed as
    they come, each in one transaction with its failures, rejections and revisions, while the next is asked for.
    """
    bars, actions = Outcome(work.table), Outcome("corporate_actions")
    with closing(at_once(partial(_ask, work), instruments)) as answers:
        for batch in batched(answers, BATCH):
            with transaction() as connection:
                _store(work, connection, batch, bars, actions)
            failed = len(bars.failures)
            log.info(f"{work.table}: {len(bars.done)} of {len(instruments)} instruments done, {failed} failed")
    actions.done, actions.failures = bars.done, bars.failures
    return bars, actions


def _ask(work: Work, instrument: Instrument) -> _Answer:
    """Runs beside others of its kind."""
    try:
        got = work.router.daily_bars(instrument, work.window.start, work.window.end)
        span = _to_restate(work, instrument, got)
        if span is None:
            return _Answer(instrument, got, calls=got.calls)
        whole = work.router.daily_bars(instrument, *span)
        return _Answer(instrument, whole, calls=got.calls + whole.calls, restated=True)
    except ProviderError as error:
        return _Answer(instrument, error=error)


def _to_restate(work: Work, instrument: Instrument, got: DailyBars) -> tuple[date, date] | None:
    """After a split that was not known, stored history outside the window is on the old basis: all of it."""
    splits = set(got.actions.loc[got.actions["kind"] == "split", "date"].dt.date) if len(got.actions) else set()
    if not splits:
        return None
    symbol = instrument.symbol
    with transaction() as connection:
        known = history.known_splits(connection, symbol)
        span = history.stored_spans(connection, work.table, [symbol]).get(symbol)
    if splits <= known or span is None or (span[0] >= work.window.start and span[1] <= work.window.end):
        return None
    return span[0], max(span[1], work.window.end)


def _note_failure(work: Work, connection: Connection, symbol: str, error: ProviderError, outcome: Outcome) -> None:
    outcome.failures[symbol] = str(error)
    start, end = work.window.start.isoformat(), work.window.end.isoformat()
    failures.record_failure(
        connection,
        task_name=work.table,
        partition_key=work.window.partition_key,
        symbol=symbol,
        provider=error.provider,
        kwargs={"symbols": [symbol], "start": start, "end": end},
        exception=f"{type(error).__name__}: {error}",
        traceback=None,
        run_id=work.run_id,
    )


def _store(work: Work, connection: Connection, answers: Sequence[_Answer], bars: Outcome, actions: Outcome) -> None:
    from financehub_dagster.market import quality

    for answer in answers:
        if answer.error is not None:
            _note_failure(work, connection, answer.instrument.symbol, answer.error, bars)
    answered = [(each.instrument.symbol, each.got) for each in answers if each.got is not None]
    bars.calls += sum(each.calls for each in answers)
    bars.restated += [each.instrument.symbol for each in answers if each.restated]
    if not answered:
        return
    frame = _stack([(got, got.bars) for _, got in answered])
    good, rejected = quality.judge(frame)
    rejections.record_rejections(connection, work.table, rejected, run_id=work.run_id)
    bars.rejected += len(rejected)
    bars.add(_write(connection, work.table, good, work.run_id))
    actions.add(
        _write(connection, "corporate_actions", _stack([(got, got.actions) for _, got in answered]), work.run_id)
    )
    symbols = [symbol for symbol, _ in answered]
    failures.resolve_failures(
        connection, task_name=work.table, partition_key=work.window.partition_key, symbols=symbols
    )
    bars.done += symbols
    bars.empty += [symbol for symbol, got in answered if not len(got.bars)]


def _write(connection: Connection, table: str, frame: "pd.DataFrame", run_id: str) -> writer.WriteResult:
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    return writer.write(
        connection,
        tables.metadata.tables[table],
        columns,
        run_id=run_id,
        keep_revisions=True,
        derived=("indicators_daily",) if table in DERIVING_INDICATORS else (),
    )


DERIVING_INDICATORS = frozenset({"stock_prices_daily", "crypto_prices_daily"})


def _stack(parts: Sequence[tuple[DailyBars, "pd.DataFrame"]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.concat(
        [
            part.assign(symbol=got.symbol, source=got.source, fetched_at=pd.Timestamp(got.fetched_at))
            for got, part in parts
        ],
        ignore_index=True,
    )
