"""From vendors' answers to stored daily bars: the engine behind every daily price table.

Belongs here: the order of work for one run (ask, judge, write, settle). Does not belong here: vendors and their
precedence, moved bases (`restating`), silent vendors (`taking_back`), SQL and Dagster's events.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from logging import Logger
from typing import TYPE_CHECKING

from financehub_dagster.gateway.errors import ProviderError, Transient
from financehub_dagster.gateway.request_context import counting
from financehub_dagster.ingest import agreement
from financehub_dagster.ingest.acceptance import accept, write
from financehub_dagster.ingest.concurrency import at_once, batches
from financehub_dagster.ingest.failed_work import RequestedWork, leave_undone
from financehub_dagster.ingest.history import doubtful, restating, source_priority, substitute_bars, taking_back
from financehub_dagster.ingest.history.restating import Reading, Span
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.storage import repaired_bars
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.lineage import stale_inputs
from financehub_dagster.storage.queries import history
from financehub_dagster.storage.queries.history import Surroundings
from financehub_dagster.storage.upsert import rejected_rows, withdrawals
from financehub_dagster.tables import ACTIONS, derived_from
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class HistoryRun:
    """One run's order: which table, for which sessions, from whom, on whose behalf."""

    table: str
    router: DailyBarsRouter
    window: Window
    run_id: str


@dataclass(frozen=True)
class _Question:
    instrument: Instrument
    span: Span
    known: Surroundings
    stale: stale_inputs.Mark | None


@dataclass(frozen=True)
class _Answer:
    """What became of a question: `got` covers the sessions of `start` to `end`, or there is an error and nothing else.

    reading is what was read from the vendor's answers, stale the mark of the stored history before. judged is what is
    kept of got, and of other vendors' answers where its bars break a rule.
    """

    instrument: Instrument
    start: date
    end: date
    error: ProviderError | None = None
    reading: Reading | None = None
    stale: stale_inputs.Mark | None = None
    judged: substitute_bars.Judged | None = None

    @property
    def got(self) -> DailyBars | None:
        """What is to be stored of the vendor's answers."""
        return None if self.reading is None else self.reading.got


def update_prices(work: HistoryRun, instruments: Sequence[Instrument], log: Logger) -> tuple[Outcome, Outcome]:
    """Fetch and store the window for each instrument; returns the outcomes of the bars and of the corporate actions.

    An instrument that fails is recorded as a dead letter, one that no vendor accepts for now is deferred, both
    are reported; the others are stored. One delisted before the window is done without a
    request. Batches are committed as they come, each in one transaction with its failures, rejections and revisions,
    while the next is asked for.
    """
    bars, actions = Outcome(work.table), Outcome(ACTIONS)
    bars.done += [each.symbol for each in instruments if each.is_over(work.window.start)]
    instruments = [each for each in instruments if not each.is_over(work.window.start)]
    with transaction() as connection:
        spans = source_priority.spans_to_ask(connection, work.table, work.router, work.window, instruments)
        asked_for = {symbol: (span.first, span.last) for symbol, span in spans.items()}
        known = history.surroundings(connection, work.table, asked_for)
        stale = stale_inputs.read_marks(connection, work.table, list(spans))
    questions = [
        _Question(each, spans[each.symbol], known[each.symbol], stale.get(each.symbol)) for each in instruments
    ]
    with counting() as sent, closing(at_once(partial(_answer, work), questions)) as answers:
        for batch in batches(answers):
            for outcome, part in zip((bars, actions), in_transaction(partial(_store, work, batch)), strict=True):
                outcome.include(part)
            for each in batch:
                _warn(each, log)
            counts = f"{len(bars.failures)} failed, {len(bars.deferred)} deferred"
            log.info(f"{work.table}: {len(bars.done)} of {counted(len(instruments), 'instrument')} done, {counts}")
    bars.calls = sent.requests
    actions.failures, actions.deferred = bars.failures, bars.deferred
    return bars, actions


def _answer(work: HistoryRun, question: _Question) -> _Answer:
    """Runs beside others of its kind."""
    instrument, span = question.instrument, question.span
    agrees = partial(agreement.require_bars, work.table, work.router, instrument)
    ask = partial(work.router.daily_bars, instrument, require=agrees)
    stale = question.stale is not None and question.stale.dirty_from is not None
    try:
        reading = restating.read(work.table, work.router, instrument, span, question.known, ask, stale=stale)
    except ProviderError as error:
        return _Answer(instrument, span.start, span.end, error=error)
    judged = substitute_bars.judge(work.table, work.router, instrument, reading.got, anew=reading.whole)
    return _Answer(instrument, reading.start, reading.end, reading=reading, stale=question.stale, judged=judged)


def _looked_at_again(
    work: HistoryRun, connection: Connection, batch: Sequence[_Answer]
) -> tuple[list[_Answer], Mapping[str, Surroundings]]:
    """The answers under the table's lock, and what is stored around each: another run may have restated a history.

    An answer that no longer stands on the basis of the rows it leaves alone becomes an error, to be asked again.
    """
    readings = {each.instrument.symbol: each.reading for each in batch if each.reading is not None}
    spans = {symbol: _seen(reading) for symbol, reading in readings.items()}
    known = history.surroundings(connection, work.table, spans)
    found = []
    for answer in batch:
        if answer.reading is not None and answer.reading.owner:
            symbol, source = answer.instrument.symbol, answer.reading.got.source
            if restating.why_restate(connection, known[symbol], answer.reading.seen) is not None:
                error = Transient(source, "another run restated its history meanwhile; ask again", symbol=symbol)
                answer = _Answer(answer.instrument, answer.start, answer.end, error=error)
        found.append(answer)
    return found, known


def _seen(reading: Reading) -> tuple[date, date]:
    """The sessions that an answer has anything to say about."""
    days = reading.seen.bars["date"]
    first = min([reading.start, *days.iloc[:1].dt.date])
    return first, max([reading.end, *days.iloc[-1:].dt.date])


def _store(work: HistoryRun, answers: Sequence[_Answer], connection: Connection) -> tuple[Outcome, Outcome]:
    """Write a batch and all that follows from it; returns the outcomes of its bars and corporate actions."""
    bars, actions = Outcome(work.table), Outcome(ACTIONS)
    locks.lock_table(connection, schema.table(work.table))
    answers, known = _looked_at_again(work, connection, answers)
    rejected = _store_rows(work, connection, answers, known, bars, actions)
    asked = RequestedWork.over(work.table, work.window, work.run_id, work.router.only)
    asked.settle(connection, [each.instrument.symbol for each in answers if each.got is not None])
    failed = {each.instrument.symbol: each.error for each in answers if each.error is not None}
    leave_undone(connection, asked, failed, bars)
    _settle(work, connection, answers, rejected)
    return bars, actions


def _store_rows(
    work: HistoryRun,
    connection: Connection,
    answers: Sequence[_Answer],
    known: Mapping[str, Surroundings],
    bars: Outcome,
    actions: Outcome,
) -> Mapping[str, list[date]]:
    """Write what the vendors sent, and take back what they no longer tell.

    Returns the sessions whose bars no table takes, by symbol.
    """
    answered = [(each.instrument, each.got) for each in answers if each.got is not None]
    kept = [each.judged.kept for each in answers if each.judged is not None]
    if not answered:
        return {}
    earlier = {each.symbol: work.router.earlier_than(each, got.source) for each, got in answered}
    good, rejected = accept(connection, work.table, _stack([(got, got.bars) for got in kept]), work.run_id)
    good = source_priority.without_outranked(connection, work.table, good, earlier)
    good = _with_better(work, connection, good, answers, bars)
    _take_back(work, connection, answers, known, earlier, bars, actions)
    good = _with_carried_over(work, connection, answers, known, good)
    complete = {got.symbol for _, got in answered if got.all_actions}
    every = _stack([(got, got.actions) for _, got in answered])
    told, refused = accept(connection, ACTIONS, every, work.run_id)
    told = source_priority.without_outranked(connection, ACTIONS, told, earlier)
    good = doubtful.with_flags(connection, work.table, good, told, complete)
    bars.doubtful += sum(map(bool, good["flags"]))
    bars.add(write(connection, work.table, good, work.run_id))
    actions.add(write(connection, ACTIONS, told, work.run_id))
    _repair(work, connection, answers, good)
    bars.rejected += len(rejected)
    actions.rejected += len(refused)
    _count(work, answers, good, bars, actions)
    return {str(symbol): list(days.dt.date) for symbol, days in rejected.groupby("symbol")["date"]}


def _repair(work: HistoryRun, connection: Connection, answers: Sequence[_Answer], good: "pd.DataFrame") -> None:
    """Keep the repaired bars of what was written, or may have been taken back."""
    starts = {each.instrument.symbol: each.start for each in answers if each.got is not None}
    first = good.groupby("symbol")["date"].min()
    for symbol, day in zip(first.index, first.dt.date, strict=True):
        starts[symbol] = min(starts[symbol], day)
    flagged = good[good["flags"].astype(bool)]
    flags: dict[str, set[str]] = {symbol: set() for symbol in flagged["symbol"]}
    for symbol, own in zip(flagged["symbol"], flagged["flags"], strict=True):
        flags[symbol].update(own)
    repaired_bars.refresh(connection, work.table, flags, starts)


def _with_better(
    work: HistoryRun, connection: Connection, good: "pd.DataFrame", answers: Sequence[_Answer], bars: Outcome
) -> "pd.DataFrame":
    """`good` and the bars that other vendors have in place of some, unless an earlier vendor's is stored meanwhile.

    The bars that they take the place of are written down.
    """
    import pandas as pd

    frames = [good]
    for answer in answers:
        judged = answer.judged
        if judged is None:
            continue
        for other in judged.others:
            earlier = {other.symbol: work.router.earlier_than(answer.instrument, other.source)}
            found, _ = accept(connection, work.table, _stack([(other, other.bars)]), work.run_id)
            frames.append(source_priority.without_outranked(connection, work.table, found, earlier))
            bars.replaced += len(frames[-1])
        if len(judged.passed_over):
            passed_over = _stack([(judged.kept, judged.passed_over)])
            rejected_rows.record_rejections(connection, work.table, passed_over, run_id=work.run_id)
            bars.rejected += len(passed_over)
    return pd.concat(frames, ignore_index=True) if frames[1:] else good


def _take_back(
    work: HistoryRun,
    connection: Connection,
    answers: Sequence[_Answer],
    known: Mapping[str, Surroundings],
    earlier: Mapping[str, Sequence[str]],
    bars: Outcome,
    actions: Outcome,
) -> None:
    """Delete what the vendors no longer tell of, and keep it as revisions."""
    readings = [(each.instrument, each.reading) for each in answers if each.reading is not None]
    if any(reading.got.all_actions for _, reading in readings):
        locks.lock_table(connection, schema.table(ACTIONS))
    gone = taking_back.withdrawn(connection, work.table, readings, known, earlier)
    by = {reading.got.symbol: reading.got.source for _, reading in readings}
    derived = derived_from(work.table)
    bars.withdrawn += withdrawals.withdraw(connection, work.table, gone.bars, by, run_id=work.run_id, derived=derived)
    actions.withdrawn += withdrawals.withdraw(connection, ACTIONS, gone.actions, by, run_id=work.run_id)
    bars.doubted += gone.doubted
    restated = {each.instrument.symbol: each.stale for each in answers if each.reading and each.reading.whole}
    stale_inputs.clear_marks(
        connection, work.table, {symbol: mark for symbol, mark in restated.items() if mark is not None}
    )
    actions.rejected += taking_back.record(connection, [reading for _, reading in readings], work.run_id)


def _with_carried_over(
    work: HistoryRun,
    connection: Connection,
    answers: Sequence[_Answer],
    known: Mapping[str, Surroundings],
    good: "pd.DataFrame",
) -> "pd.DataFrame":
    """`good`, and the stored rows that have to move to its basis along with it."""
    import pandas as pd

    frames = [good]
    for answer in answers:
        reading, symbol = answer.reading, answer.instrument.symbol
        if reading is not None and reading.owner:
            own = good[(good["symbol"] == symbol).to_numpy(bool)] if reading.moved or known[symbol].first else good[:0]
            moved = restating.carried_over(connection, work.table, reading, known[symbol], own)
            frames += [] if moved is None else [moved]
    return pd.concat(frames, ignore_index=True) if frames[1:] else good


def _warn(answer: _Answer, log: Logger) -> None:
    if answer.reading is None:
        return
    symbol, source = answer.instrument.symbol, answer.reading.got.source
    for each in answer.reading.applied:
        log.warning(
            f"{symbol}: {source} tells of a split, and its prices step from {each.previous_close:g} to {each.close:g}"
            f" on {each.date}: those before were divided by {each.ratio:g}"
        )


def _settle(
    work: HistoryRun, connection: Connection, answers: Sequence[_Answer], rejected: Mapping[str, Sequence[date]]
) -> None:
    """Bring the ledger to what this batch did: the last act of its transaction."""
    from financehub_dagster.storage.coverage import ledger

    now = datetime.now(UTC)
    ledger.hold(connection, [answer.instrument.symbol for answer in answers])
    given = []
    for answer in answers:
        if answer.got is None:
            continue
        symbol, got = answer.instrument.symbol, answer.got
        # What another vendor than the first choice lacks at the beginning may be the limits of its plan.
        final = got.source == work.router.first_choice(answer.instrument)
        first_bar = got.bars["date"].iloc[0].date() if len(got.bars) else None
        first_bar = (got.listed_since or first_bar) if final else None
        given.append(
            ledger.SessionsResponse(
                symbol,
                got.source,
                max(answer.start, got.told_since or answer.start),
                answer.end,
                got.fetched_at,
                first_bar,
                rejected.get(symbol, ()),
            )
        )
    ledger.answered(connection, work.table, given, now)
    failed = [answer.instrument.symbol for answer in answers if answer.error is not None]
    if failed:
        ledger.settle(connection, work.table, failed, work.window.start, work.window.end, now)


def _count(work: HistoryRun, answers: Sequence[_Answer], good: "pd.DataFrame", bars: Outcome, actions: Outcome) -> None:
    bars.sources.update(good["source"].tolist())
    for answer in answers:
        if answer.got is None:
            continue
        symbol, got = answer.instrument.symbol, answer.got
        bars.done.append(symbol)
        bars.answered_by[got.source] += 1
        (actions.done if got.all_actions else actions.unclaimed).append(symbol)
        if not len(got.bars):
            bars.empty.append(symbol)
        asked_more = answer.start < work.window.start or answer.end > work.window.end
        if answer.reading is not None and answer.reading.applied:
            bars.applied.append(symbol)
        if answer.reading is not None and answer.reading.whole:
            bars.restated += [symbol] if "split" in answer.reading.moved else []
            bars.readjusted += [symbol] if "dividend" in answer.reading.moved else []
        elif asked_more and got.source == work.router.first_choice(answer.instrument):
            bars.taken_back.append(symbol)


def _stack(parts: Sequence[tuple[DailyBars, "pd.DataFrame"]]) -> "pd.DataFrame":
    """One table of all, each row with the symbol, source and time of its answer."""
    import numpy as np
    import pandas as pd

    sizes = [len(part) for _, part in parts]
    fetched_at = pd.DatetimeIndex([got.fetched_at for got, _ in parts])
    return pd.concat([part for _, part in parts], ignore_index=True).assign(
        symbol=np.repeat(np.array([got.symbol for got, _ in parts], object), sizes),
        source=np.repeat(np.array([got.source for got, _ in parts], object), sizes),
        fetched_at=fetched_at.repeat(sizes),
    )
