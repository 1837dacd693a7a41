"""From vendors' answers to stored minutes and the longer bars made of them: the engine behind the intraday tables.

Belongs here: the order of work for one run (what is open, ask, judge, write, derive, settle). Does not belong here:
vendors and their order (providers), which instruments a tick asks for (`market.intraday.budget_planner`), the
arithmetic of the ledger (storage.coverage), SQL and Dagster's events. Imports numpy: import it inside functions.

A run asks only for what the ledger has not settled: from the last complete minute on, gaps, and what was never asked
for. An answer, the bars made of it, dead letters and the ledger are one transaction, the ledger last: a run that is
killed is continued from there, and nothing stored is asked for again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial
from itertools import chain
from logging import Logger
from typing import TYPE_CHECKING

import numpy as np

from financehub_dagster.gateway.errors import NotInPlan, ProviderError
from financehub_dagster.gateway.request_context import counting
from financehub_dagster.ingest.acceptance import accept, write
from financehub_dagster.ingest.concurrency import at_once, batches
from financehub_dagster.ingest.failed_work import RequestedWork, leave_undone
from financehub_dagster.ingest.intraday.longer_bars import Change, write_longer_bars
from financehub_dagster.ingest.outcome import Outcome
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.market.bar_arrays import PRICES
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.trading_hours import TradingHours, by_market
from financehub_dagster.providers.base import IntradayBars
from financehub_dagster.storage.coverage import minute_rows, minutes
from financehub_dagster.storage.coverage.minutes import Answered, Settled, instant
from financehub_dagster.storage.database import locks, schema
from financehub_dagster.storage.database.engine import Connection, transaction
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.tables import TABLES, filled_with

if TYPE_CHECKING:
    import pandas as pd

    from financehub_dagster.market.calendar_source import Instants
    from financehub_dagster.providers.routing import IntradayRouter

LONGEST = 7 * 86_400
"""Seconds asked for at once: 10,080 minutes of a crypto, eleven pages of Binance or two of Twelve Data."""
LOOKBACK = timedelta(days=4)
"""How far back it is counted how often an instrument trades: over a weekend."""
KEPT_BY_NOBODY = timedelta(days=6)
"""Minutes older than this that no vendor's plan reaches are lost for good: Yahoo keeps a week, others more."""


@dataclass(frozen=True)
class MinutesRun:
    """One run's order: which table, for which days, from whom, on whose behalf.

    tail_only: ask from the last complete minute on, and leave gaps to healing. now: until when minutes are asked for.
    """

    table: str
    router: "IntradayRouter"
    window: Window
    run_id: str
    now: datetime
    tail_only: bool = False

    @property
    def span(self) -> tuple[int, int]:
        """The first instant of the window, and the last minute that has ended of it."""
        start = datetime.combine(self.window.start, time(), UTC)
        stop = datetime.combine(self.window.end + timedelta(days=1), time(), UTC)
        return int(start.timestamp()), int(min(stop, self.now).timestamp()) // 60 * 60


@dataclass(frozen=True)
class _Question:
    """Instruments that are asked about together, from `start` to `stop`."""

    instruments: Sequence[Instrument]
    start: int
    stop: int


@dataclass(frozen=True)
class _Answer:
    """What became of a question about one instrument."""

    instrument: Instrument
    start: int
    stop: int
    got: IntradayBars | None = None
    error: ProviderError | None = None


def update_minutes(work: MinutesRun, instruments: Sequence[Instrument], log: Logger) -> dict[str, Outcome]:
    """Fetch and store what the ledger has open of the window, for each instrument; outcomes by table.

    An instrument that fails becomes a dead letter, one that nobody may be asked about for now is deferred; the others
    are stored. Answers are committed in batches while the next are asked for.
    """
    outcomes = {name: Outcome(name) for name in (work.table, *filled_with(work.table))}
    questions, idle = _questions(work, instruments)
    outcomes[work.table].done += idle
    if idle:  # nothing is open of these: work on them that failed or waited within the window is done
        in_transaction(partial(_asked(work).settle, symbols=idle))
    with counting() as sent, closing(at_once(partial(_ask, work), questions)) as answers:
        for batch in batches(chain.from_iterable(answers), _is_long):
            for name, part in in_transaction(partial(_store, work, batch)).items():
                outcomes[name].include(part)
            done = outcomes[work.table]
            done.done = list(dict.fromkeys(done.done))  # one of several pieces is in as many batches
            log.info(f"{work.table}: {len(done.done)} done, {len(done.failures)} failed, {len(done.deferred)} deferred")
    outcomes[work.table].calls = sent.requests
    return outcomes


def _is_long(batch: Sequence[_Answer]) -> bool:
    """Whether the answers cover as much as one of the longest: a seed that is killed keeps each of its weeks."""
    return sum(each.stop - each.start for each in batch) >= LONGEST


def _questions(work: MinutesRun, instruments: Sequence[Instrument]) -> tuple[list[_Question], list[str]]:
    """What to ask for, and the instruments of which nothing is open."""
    start, stop = work.span
    with transaction() as connection:
        known = minute_rows.read(connection, [each.symbol for each in instruments])
    hours = _hours(instruments)
    single: list[_Question] = []
    tails: list[tuple[Instrument, int]] = []
    idle: list[str] = []
    for each in instruments:
        settled = known.get(each.symbol, Settled())
        parts = open_parts(work, settled, start, stop, hours[each.symbol])
        if not parts:
            idle.append(each.symbol)
        elif len(parts) == 1 and parts[0][1] == stop and stop - parts[0][0] <= LONGEST:
            tails.append((each, parts[0][0]))
        else:
            single += [_Question([each], *piece) for part in parts for piece in _pieces(*part)]
    return [*_together(work, tails, stop), *single], idle


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A long stretch in pieces, oldest first: each is stored before the next ones are."""
    while start < stop:
        yield start, min(start + LONGEST, stop)
        start += LONGEST


def open_parts(work: MinutesRun, settled: Settled, start: int, stop: int, hours: TradingHours) -> list[tuple[int, int]]:
    """What the run asks for of one instrument."""
    if work.tail_only and settled.complete_to is not None:
        begin = settled.complete_to
        return [(begin, stop)] if begin < stop and hours.count(instant(begin), instant(stop)) else []
    return minutes.parts_to_ask(settled, start, stop, hours)


def _together(work: MinutesRun, tails: Sequence[tuple[Instrument, int]], stop: int) -> list[_Question]:
    """Questions that end at the same instant, in the batches that cost the fewest requests."""
    begins = {each.symbol: begin for each, begin in tails}
    groups = work.router.batches([each for each, _ in tails]) if tails else []
    return [_Question(group, min(begins[each.symbol] for each in group), stop) for group in groups]


def _ask(work: MinutesRun, question: _Question) -> list[_Answer]:
    """Runs beside others of its kind."""
    start, stop = (datetime.fromtimestamp(at, UTC) for at in (question.start, question.stop))
    found = work.router.intraday_bars(question.instruments, TABLES[work.table].bar_minutes, start, stop)
    return [
        _Answer(each, question.start, question.stop, found.answers.get(each.symbol), found.failed.get(each.symbol))
        for each in question.instruments
    ]


def _asked(work: MinutesRun) -> RequestedWork:
    return RequestedWork.over(work.table, work.window, work.run_id, work.router.only)


def _store(work: MinutesRun, answers: Sequence[_Answer], connection: Connection) -> dict[str, Outcome]:
    """Write a batch and all that follows from it; the ledger last."""
    symbols = sorted({each.instrument.symbol for each in answers})
    for name in (work.table, *filled_with(work.table)):
        locks.lock_table(connection, schema.table(name), symbols)
    outcome = Outcome(work.table)
    answered = [each for each in answers if each.got is not None]
    _write(work, connection, answered, outcome)
    before = minute_rows.read(connection, symbols)
    after, changes = _settled(work, connection, answers, before)
    outcomes = write_longer_bars(connection, work.table, changes, work.run_id)
    asked = _asked(work)
    errors = {
        each.instrument.symbol: each.error for each in answers if each.error is not None and not _is_lost(work, each)
    }
    done = [symbol for symbol in symbols if symbol not in errors]
    asked.settle(connection, done)
    leave_undone(connection, asked, errors, outcome)
    outcome.done += done
    minute_rows.hold(connection, symbols)
    minute_rows.save(connection, before, after)
    return {work.table: outcome, **outcomes}


def _write(work: MinutesRun, connection: Connection, answers: Sequence[_Answer], outcome: Outcome) -> None:
    """Write the minutes that the table takes."""
    rows = in_hours([(each.instrument, each.got) for each in answers if each.got is not None], outcome)
    if rows is None:
        return
    good, rejected = accept(connection, work.table, rows, work.run_id)
    outcome.rejected += len(rejected)
    good = _without_outranked(work, connection, good, answers)
    outcome.sources.update(good["source"].tolist())
    outcome.add(write(connection, work.table, good, work.run_id, locked=True))


def in_hours(answers: Iterable[tuple[Instrument, IntradayBars]], outcome: Outcome) -> "pd.DataFrame | None":
    """The answers' bars within trading hours, as rows of a table, all in one frame; the others are counted."""
    import pandas as pd

    found = [(instrument, got) for instrument, got in answers if len(got.bars)]
    if not found:
        return None
    outcome.from_bulk_files += sum(got.from_bulk_files for _, got in found)
    counts = [len(got.bars) for _, got in found]
    numbers = np.repeat(np.arange(len(found)), counts)
    values = {
        name: np.concatenate([got.bars[name].to_numpy(np.float64, na_value=np.nan) for _, got in found])
        for name in PRICES
    }
    opens = np.concatenate([got.bars["ts"].to_numpy("datetime64[s]") for _, got in found])
    inside = np.zeros(opens.size, bool)
    for hours, members in by_market([instrument for instrument, _ in found], assume=True):
        own = np.isin(numbers, members)
        inside[own] = hours.is_open(opens[own])
    outcome.ignored += int((~inside).sum())
    numbers = numbers[inside]
    symbols, sources = (
        np.array([getattr(got, name) for _, got in found], object)[numbers] for name in ("symbol", "source")
    )
    fetched = np.array([got.fetched_at.replace(tzinfo=None) for _, got in found], "datetime64[us]")[numbers]
    return pd.DataFrame(
        {
            "symbol": symbols,
            "ts": pd.DatetimeIndex(opens[inside], tz="UTC"),
            **{name: column[inside] for name, column in values.items()},
            "source": sources,
            "fetched_at": pd.DatetimeIndex(fetched, tz="UTC"),
        }
    )


def _without_outranked(
    work: MinutesRun, connection: Connection, rows: "pd.DataFrame", answers: Sequence[_Answer]
) -> "pd.DataFrame":
    """`rows` without the minutes that a vendor has sent which the router asks earlier."""
    earlier = {
        each.instrument.symbol: names
        for each in answers
        if each.got is not None and (names := work.router.earlier_than(each.instrument, each.got.source))
    }
    if not earlier or rows.empty:
        return rows
    span = int(rows["ts"].min().timestamp()), int(rows["ts"].max().timestamp()) + minutes.MINUTE
    protected = minute_rows.stored(connection, dict.fromkeys(earlier, span), earlier)
    keep = np.ones(len(rows), bool)
    symbols, opens = rows["symbol"].to_numpy(), rows["ts"].dt.tz_localize(None).to_numpy("datetime64[s]")
    for symbol, taken in protected.items():
        keep &= ~((symbols == symbol) & np.isin(opens, taken))
    return rows[keep]


def _settled(
    work: MinutesRun, connection: Connection, answers: Sequence[_Answer], before: Mapping[str, Settled]
) -> tuple[dict[str, Settled], list[Change]]:
    """The ledger of each instrument after its answers, and what changed of its minutes."""
    after = dict(before)
    told = [each for each in answers if each.got is not None or _is_lost(work, each)]
    members = {each.instrument.symbol: each.instrument for each in told}
    hours = _hours([each.instrument for each in told])
    stored = _stored(connection, told)
    changed: dict[str, tuple[int, int, IntradayBars]] = {}  # from the first answer's start to the last one's end
    for each in sorted(told, key=lambda answer: answer.start):
        symbol, complete = each.instrument.symbol, _complete(each)
        known = after.get(symbol, Settled())
        answered = _answered(work, connection, each, known, stored.get(symbol), hours[symbol])
        after[symbol] = minutes.settle(known, answered, hours[symbol])
        if each.got is not None and complete > each.start:
            changed[symbol] = changed.get(symbol, (each.start,))[0], complete, each.got
    return after, [
        Change(members[symbol], hours[symbol], start, stop, after[symbol], got.source, got.fetched_at)
        for symbol, (start, stop, got) in changed.items()
    ]


def _hours(instruments: Sequence[Instrument]) -> dict[str, TradingHours]:
    """The trading hours of each, by symbol."""
    return {
        instruments[number].symbol: hours for hours, members in by_market(instruments) for number in members.tolist()
    }


def _complete(answer: _Answer) -> int:
    """Up to when the answer settles every minute; all of it where nobody keeps any."""
    if answer.got is None:
        return answer.stop
    return min(int(answer.got.complete_to.timestamp()) // 60 * 60, answer.stop)


def _stored(connection: Connection, answers: Sequence[_Answer]) -> "dict[str, Instants]":
    """The stored minutes within the answers of each symbol, read at once."""
    spans: dict[str, tuple[int, int]] = {}
    for each in answers:
        symbol, complete = each.instrument.symbol, _complete(each)
        if complete > each.start:
            first, last = spans.get(symbol, (each.start, complete))
            spans[symbol] = min(first, each.start), max(last, complete)
    return minute_rows.stored(connection, spans) if spans else {}


def _answered(
    work: MinutesRun,
    connection: Connection,
    answer: _Answer,
    known: Settled,
    stored: "Instants | None",
    hours: TradingHours,
) -> Answered:
    got, complete = answer.got, _complete(answer)
    told_since = answer.stop if got is None else None
    if got is not None and got.told_since is not None:
        told_since = int(got.told_since.timestamp())
    have: Instants = np.zeros(0, "datetime64[s]") if stored is None else stored
    have = have[(have >= instant(answer.start)) & (have < instant(complete))]
    often: float | None = 1.0
    if complete > answer.start and answer.instrument.asset_type is not AssetType.CRYPTO:
        often = _how_often(connection, answer, complete, have, known, hours)
    provider = "" if got is None else got.source
    return Answered(answer.start, answer.stop, complete, provider, work.now, have, often, told_since)


def _how_often(
    connection: Connection, answer: _Answer, complete: int, have: "Instants", known: Settled, hours: TradingHours
) -> float | None:
    """The share of minutes in which the instrument traded of late; None where there is little to go by."""
    expected = int(hours.count(instant(answer.start), instant(complete)))
    if expected - len(have) < minutes.FEWEST:
        return 0.5  # too little is missing for anything to be judged
    since = complete - int(LOOKBACK.total_seconds())
    since = max(since, min(answer.start, known.first if known.first is not None else answer.start))
    recent = min(since, answer.start)
    counted = minute_rows.stored(connection, {answer.instrument.symbol: (recent, complete)})
    total = int(hours.count(instant(recent), instant(complete)))
    traded = len(counted[answer.instrument.symbol])
    return traded / total if traded and total >= minutes.MOST_UNKNOWN else None


def _is_lost(work: MinutesRun, answer: _Answer) -> bool:
    """Whether nobody keeps minutes that old: they are gone for good, and no failure."""
    old = int((work.now - KEPT_BY_NOBODY).timestamp())
    return isinstance(answer.error, NotInPlan) and answer.stop <= old
