"""The ledger of minutes: what an answer settles, and what is to be asked for.

Belongs here: arithmetic on one instrument's settled span and open stretches. Does not belong here: SQL (`minute_rows`),
days and orders made of them (`minute_days`). Imports numpy: import it inside functions.

Of each instrument every minute from `first` to `complete_to` is settled: it is stored, or was asked for and had no
trade, unless it lies in a stretch. A stretch is a gap, confirmed empty, or was never asked for. Later minutes are due
as soon as they have ended. So the ledger stores what is open, and a complete instrument is one row.

A crypto trades all the time: each of its minutes without a bar is missing. Of other instruments a minute without a
trade is no gap, but so many in a row that they are next to impossible, by how often it trades otherwise, are.
Instants are epoch seconds on whole minutes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from financehub_dagster.market.calendar_source import Instants
from financehub_dagster.market.intraday.trading_hours import TradingHours

MINUTE = 60
INTERVALS = (timedelta(minutes=10), timedelta(hours=6))
"""How long after an answer without them missing minutes are asked for again; then they are confirmed empty."""
UNLIKELY = 1e-6
"""Probability below which minutes in a row without a trade are taken for missing."""
FEWEST, MOST_UNKNOWN = 3, 30
"""Fewest such minutes, however often the instrument trades; and how many where that is not known."""
NEAR = 6 * 3600
"""Seconds between two stretches that are asked for together: they cost a request each otherwise."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Minutes from `start` to `stop` that are not stored, how often `provider` was asked for them and when it is again.

    next_ask_at None: confirmed empty, or not expected where they were never asked for (asked is 0).
    """

    start: int
    stop: int
    asked: int = 0
    provider: str = ""
    next_ask_at: datetime | None = None

    @property
    def is_gap(self) -> bool:
        """Whether it will be asked for."""
        return self.next_ask_at is not None

    @property
    def is_expected(self) -> bool:
        """Whether it was ever asked for, or will be."""
        return self.asked > 0 or self.is_gap


@dataclass(frozen=True, slots=True)
class Settled:
    """What is settled of one instrument; first and complete_to are None before the first answer."""

    first: int | None = None
    complete_to: int | None = None
    asked_at: datetime | None = None
    stretches: tuple[Stretch, ...] = ()

    @property
    def gaps(self) -> list[Stretch]:
        """The stretches that will be asked for."""
        return [each for each in self.stretches if each.is_gap]

    @property
    def unknown(self) -> list[Stretch]:
        """The stretches that are not confirmed empty."""
        return [each for each in self.stretches if each.is_gap or not each.is_expected]


@dataclass(frozen=True, slots=True)
class Answered:
    """A vendor's answer for the minutes from `start` to `stop`, complete up to `complete_to`, from `told_since` on.

    have: the minutes of that range that are stored by now. often: the share of minutes in which the instrument trades,
    None where that is not known, 1 for one that trades in every minute.
    """

    start: int
    stop: int
    complete_to: int
    provider: str
    now: datetime
    have: Instants = field(repr=False)
    often: float | None = None
    told_since: int | None = None


def parts_to_ask(known: Settled, start: int, stop: int, hours: TradingHours) -> list[tuple[int, int]]:
    """The parts of [start, stop) that are not settled and hold a minute of the market; near ones are joined."""
    if known.first is None or known.complete_to is None:
        found = [(start, stop)]
    else:
        found = [(start, min(stop, known.first)), (max(start, known.complete_to), stop)]
        found += [
            (max(start, each.start), min(stop, each.stop))
            for each in known.stretches
            if each.is_gap or not each.is_expected
        ]
    parts: list[tuple[int, int]] = []
    for begin, end in sorted(found):
        if begin >= end or not hours.count(instant(begin), instant(end)):
            continue
        if parts and begin - parts[-1][1] <= NEAR:
            parts[-1] = parts[-1][0], max(end, parts[-1][1])
        else:
            parts.append((begin, end))
    return parts


def settle(known: Settled, answer: Answered, hours: TradingHours) -> Settled:
    """What is settled after an answer whose minutes are stored."""
    complete = min(answer.complete_to, answer.stop)
    if complete <= answer.start:
        return replace(known, asked_at=answer.now)
    inside = [each for each in known.stretches if each.start < complete and each.stop > answer.start]
    kept = [part for each in known.stretches for part in _outside(each, answer.start, complete)]
    found = [_asked_again(start, stop, inside, answer) for start, stop in _missing(answer, complete, hours)]
    first, complete_to, holes = _span(known, answer, complete, hours)
    stretches = tuple(sorted([*kept, *found, *holes], key=lambda each: each.start))
    return Settled(first, complete_to, answer.now, stretches)


def _span(known: Settled, answer: Answered, complete: int, hours: TradingHours) -> tuple[int, int, list[Stretch]]:
    """The settled span with the answer in it, and what lies between it and what was settled before."""
    if known.first is None or known.complete_to is None:
        return answer.start, complete, []
    holes = []
    if complete < known.first:
        until = min(answer.stop, known.first)
        holes = [Stretch(complete, until, next_ask_at=answer.now), Stretch(until, known.first)]
    elif answer.start > known.complete_to:
        holes = [Stretch(known.complete_to, answer.start, next_ask_at=answer.now)]
    traded = [each for each in holes if hours.count(instant(each.start), instant(each.stop))]
    return min(known.first, answer.start), max(known.complete_to, complete), traded


def _missing(answer: Answered, complete: int, hours: TradingHours) -> list[tuple[int, int]]:
    """Runs of minutes that should have a bar and have none, from first to after the last."""
    return missing_runs(answer.start, complete, answer.have, hours, answer.often, answer.told_since)


def missing_runs(
    start: int, stop: int, have: Instants, hours: TradingHours, often: float | None, told_since: int | None = None
) -> list[tuple[int, int]]:
    """Runs of minutes of [start, stop) that should have a bar and have none, from first to after the last.

    have, often and told_since are those of `Answered`.
    """
    expected = hours.minutes(instant(start), instant(stop))
    missing = np.setdiff1d(expected, have.astype("datetime64[s]"))
    if not missing.size:
        return []
    numbers = hours.finished(missing)
    apart = (np.diff(numbers) != 1) | (np.diff(hours.interval_of(missing)) != 0)
    if told_since is not None:
        apart |= (missing[1:] >= instant(told_since)) & (missing[:-1] < instant(told_since))
    begins = np.append(0, np.flatnonzero(apart) + 1)
    ends = np.append(begins[1:], missing.size)
    enough = longest_pause(often)
    runs = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        first, after = _epoch(missing[begin]), _epoch(missing[end - 1]) + MINUTE
        if end - begin >= enough or (told_since is not None and first < told_since):
            runs.append((first, after))
    return _joined(runs, hours)


def _joined(runs: Sequence[tuple[int, int]], hours: TradingHours) -> list[tuple[int, int]]:
    """Runs without a minute of the market between them are one: a night does not part two days without bars."""
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and not hours.count(instant(joined[-1][1]), instant(start)):
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    return joined


def longest_pause(often: float | None) -> int:
    """How many minutes in a row without a bar count as missing."""
    if often is None:
        return MOST_UNKNOWN
    if often >= 1:
        return 1
    share = min(max(often, 0.01), 0.999)
    return max(FEWEST, math.ceil(math.log(UNLIKELY) / math.log(1 - share)))


def _asked_again(start: int, stop: int, before: Iterable[Stretch], answer: Answered) -> Stretch:
    """A run of missing minutes, counting the answers that left it out; one that came before it was due counts none."""
    if answer.told_since is not None and stop <= answer.told_since:
        return Stretch(start, stop, 1, answer.provider)
    same = [each for each in before if each.start < stop and each.stop > start and each.asked]
    if not same:
        return Stretch(start, stop, 1, answer.provider, answer.now + INTERVALS[0])
    old = max(same, key=lambda each: min(each.stop, stop) - max(each.start, start))
    if old.next_ask_at is None or old.next_ask_at > answer.now:
        return replace(old, start=start, stop=stop)
    again = answer.now + INTERVALS[old.asked] if old.asked < len(INTERVALS) else None
    return Stretch(start, stop, old.asked + 1, answer.provider, again)


def _outside(each: Stretch, start: int, stop: int) -> list[Stretch]:
    """What is left of a stretch outside of [start, stop)."""
    parts = (each.start, min(each.stop, start)), (max(each.start, stop), each.stop)
    return [replace(each, start=begin, stop=end) for begin, end in parts if begin < end]


def instant(seconds: int) -> np.datetime64:
    """Epoch seconds as datetime64[s]."""
    return np.datetime64(seconds, "s")


def _epoch(at: np.datetime64) -> int:
    return int(at.astype("datetime64[s]").astype(np.int64))
