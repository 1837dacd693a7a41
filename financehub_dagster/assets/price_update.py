"""From a vendor's answers to stored daily bars: the engine behind every daily price table.

Belongs here: the order of work for one run (ask, judge, write, settle) and restating after a split. Does not belong
here: vendors, SQL and Dagster's events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import batched
from logging import Logger
from typing import TYPE_CHECKING

from financehub_dagster.assets.outcome import Outcome
from financehub_dagster.assets.partitions import Window
from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import DailyBars, DailyBarsProvider
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
    provider: DailyBarsProvider
    window: Window
    run_id: str


def update_prices(work: Work, instruments: Sequence[Instrument], log: Logger) -> tuple[Outcome, Outcome]:
    """Fetch and store the window for each instrument; returns the outcomes of the bars and of the corporate actions.

    An instrument that fails is recorded as a dead letter and reported; the others are stored. Batches are committed as
    they come, each in one transaction with its failures, rejections and revisions.
    """
    bars, actions = Outcome(work.table), Outcome("corporate_actions")
    for batch in batched(instruments, BATCH):
        answers = [_restated(work, answer, bars) for answer in _ask(work, batch, bars)]
        with transaction() as connection:
            _store(work, connection, answers, bars, actions)
        log.info(f"{work.table}: {len(bars.done)} of {len(instruments)} instruments done, {len(bars.failures)} failed")
    actions.done, actions.failures = bars.done, bars.failures
    return bars, actions


@dataclass(frozen=True)
class _Answer:
    instrument: Instrument
    got: DailyBars


def _ask(work: Work, batch: Sequence[Instrument], outcome: Outcome) -> Iterator[_Answer]:
    for instrument in batch:
        answer = _ask_one(work, instrument, work.window.start, work.window.end, outcome)
        if answer is not None:
            yield answer


def _ask_one(work: Work, instrument: Instrument, start: date, end: date, outcome: Outcome) -> _Answer | None:
    try:
        got = work.provider.daily_bars(instrument, start, end)
    except ProviderError as error:
        outcome.failures[instrument.symbol] = str(error)
        with transaction() as connection:
            failures.record_failure(
                connection,
                task_name=work.table,
                partition_key=work.window.partition_key,
                symbol=instrument.symbol,
                provider=error.provider,
                kwargs={"symbols": [instrument.symbol], "start": start.isoformat(), "end": end.isoformat()},
                exception=f"{type(error).__name__}: {error}",
                traceback=None,
                run_id=work.run_id,
            )
        return None
    outcome.calls += got.calls
    return _Answer(instrument, got)


def _restated(work: Work, answer: _Answer, outcome: Outcome) -> _Answer:
    """After a split that was not known, stored history outside the window is on the old basis: ask for all of it."""
    symbol = answer.instrument.symbol
    actions = answer.got.actions
    splits = set(actions.loc[actions["kind"] == "split", "date"].dt.date) if len(actions) else set()
    if not splits:
        return answer
    with transaction() as connection:
        known = history.known_splits(connection, symbol)
        span = history.stored_spans(connection, work.table, [symbol]).get(symbol)
    if splits <= known or span is None or (span[0] >= work.window.start and span[1] <= work.window.end):
        return answer
    whole = _ask_one(work, answer.instrument, span[0], max(span[1], work.window.end), outcome)
    if whole is None:
        return answer
    outcome.restated.append(symbol)
    return whole


def _store(work: Work, connection: Connection, answers: Sequence[_Answer], bars: Outcome, actions: Outcome) -> None:
    from financehub_dagster.market import quality

    answered = [a for a in answers if a.instrument.symbol not in bars.failures]
    if not answered:
        return
    frame = _stack([(a, a.got.bars) for a in answered])
    good, rejected = quality.judge(frame)
    rejections.record_rejections(connection, work.table, rejected, run_id=work.run_id)
    bars.rejected += len(rejected)
    bars.add(_write(connection, work.table, good, work.run_id))
    actions.add(_write(connection, "corporate_actions", _stack([(a, a.got.actions) for a in answered]), work.run_id))
    symbols = [a.instrument.symbol for a in answered]
    failures.resolve_failures(
        connection, task_name=work.table, partition_key=work.window.partition_key, symbols=symbols
    )
    bars.done += symbols
    bars.empty += [a.instrument.symbol for a in answered if not len(a.got.bars)]


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


def _stack(parts: Sequence[tuple[_Answer, "pd.DataFrame"]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.concat(
        [
            part.assign(symbol=a.instrument.symbol, source=a.got.source, fetched_at=pd.Timestamp(a.got.fetched_at))
            for a, part in parts
        ],
        ignore_index=True,
    )
