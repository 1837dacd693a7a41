"""What became of signals: each entry followed to the exit of the same rule, or to the end of a week.

Belongs here: pairing entries with exits, returns and hit rates. Does not belong here: which rules there are
(market.signals.rules), reading signals.

Each entry signal is followed on its own, also one that fires while an earlier one is open. It ends at the close of the
first exit signal of its rule after it. Its return is that of buying at the entry's close, without costs. Candlesticks
have no exits, so they are listed but not followed.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from financehub_dagster.market.journal.series import Close
from financehub_dagster.market.journal.week import Week

ENTRY, EXIT = "entry", "exit"


@dataclass(frozen=True, slots=True)
class Signal:
    """A row of `signals`; price is the close on the basis of all closes. told: the state of its notification."""

    symbol: str
    date: date
    rule: str
    direction: str
    price: float
    told: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """An entry signal and its exit signal; while there is none, `last` is the instrument's last close (None: none)."""

    entry: Signal
    exit: Signal | None
    last: Close | None

    @property
    def change(self) -> float | None:
        """The return from entry to exit, or to the last close: 0.05 is 5 %; None where that is not known."""
        end = self.exit.price if self.exit is not None else self.last.price if self.last is not None else None
        return None if end is None else end / self.entry.price - 1


@dataclass(frozen=True, slots=True)
class Record:
    """How the entries of one rule went. A hit is an exit above the entry; rates and returns are None without any."""

    rule: str
    entries: int
    open: int
    hits: int
    closed_change: float | None
    open_change: float | None

    @property
    def closed(self) -> int:
        """Entries that have an exit."""
        return self.entries - self.open

    @property
    def hit_rate(self) -> float | None:
        """Hits among those with an exit."""
        return self.hits / self.closed if self.closed else None


def follow(signals: Iterable[Signal], last: Mapping[str, Close | None], week: Week) -> list[Outcome]:
    """What became of every entry among `signals` by the end of `week`, in the order of their sessions.

    last: the last close of each symbol until then. Signals after the week are left out.
    """
    entries: list[Signal] = []
    exits: defaultdict[tuple[str, str], list[Signal]] = defaultdict(list)
    for signal in sorted(signals, key=lambda each: (each.date, each.symbol, each.rule)):
        if signal.date > week.end:
            continue
        if signal.direction == ENTRY:
            entries.append(signal)
        elif signal.direction == EXIT:
            exits[signal.symbol, signal.rule].append(signal)
    days = {key: [each.date for each in own] for key, own in exits.items()}
    outcomes = []
    for entry in entries:
        key = (entry.symbol, entry.rule)
        place = bisect_right(days.get(key, []), entry.date)
        left = exits[key][place] if place < len(exits[key]) else None
        outcomes.append(Outcome(entry, left, last.get(entry.symbol)))
    return outcomes


def records(outcomes: Sequence[Outcome], order: Sequence[str]) -> list[Record]:
    """One record for each rule that has an entry, in `order`."""
    by_rule: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_rule[outcome.entry.rule].append(outcome)
    return [_record(rule, by_rule[rule]) for rule in order if rule in by_rule]


def _record(rule: str, outcomes: Sequence[Outcome]) -> Record:
    closed = [each.change for each in outcomes if each.exit is not None and each.change is not None]
    still = [each.change for each in outcomes if each.exit is None and each.change is not None]
    return Record(
        rule,
        len(outcomes),
        sum(each.exit is None for each in outcomes),
        sum(change > 0 for change in closed),
        sum(closed) / len(closed) if closed else None,
        sum(still) / len(still) if still else None,
    )
