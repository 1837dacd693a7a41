"""Which instruments a tick asks a vendor for, so that a day's credits last for the day.

Belongs here: the decision, as a pure function of what is known at the tick, and its explanation. Does not belong here:
counting and booking credits (storage's rate limits, which refuse what exceeds a limit whatever is planned here), the
request itself (providers), weights (`importance`).

Minutes arrive in arrears: one pull brings all minutes since the last, up to `CallCost.minutes`. So credits buy
freshness, not completeness, except for one pull after each session's close, which completes the day. One pull for every
close still to come before the reset is therefore kept of the credits left today. The rest, the spare credits, is spread
over the minutes of trading left until the reset.

How it is spread. An instrument of weight w that is pulled every T minutes is T/2 minutes stale on average and costs
left/T pulls over the `left` minutes of trading before the reset. The sum of w T/2 left under a given sum of left/T is
smallest (Lagrange: w/2 = m/T², with one m for all) where T = c / sqrt(w); c follows from the spare credits, and T is
at least one minute. The planner works T out afresh at every tick from the credits then left, so that failures,
other users of the key and days that begin late correct themselves. Without a limit T is one minute: all that is due is
asked for at each tick.

Order within a tick: last pulls first, by weight times the square of the time waited; then the others, by weight times
the square of the minutes of trading waited. What waits longest grows fastest, so that nothing starves. An instrument
that was asked for and brought nothing waits its turn again, because the wait is counted from the last request.

If not even the last pulls can be paid, the credits go to the first in the same order. What is left out today has waited
longer tomorrow, and its minutes are not lost: the next pull brings them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.calendar_source import Instants
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.intraday.trading_hours import MINUTE, Flags, Integers, by_market

type Floats = NDArray[np.float64]
type Rows = NDArray[np.intp]

SETTLE = np.timedelta64(60, "s")
"""How long a last pull waits after the close where credits are limited: vendors publish the last minute a little late,
and a pull that misses it would be paid twice."""


_ALL = 1 << 40
"""More symbols than there are."""


@dataclass(frozen=True, slots=True)
class CallCost:
    """What a call costs in credits, and what it brings: up to `symbols` instruments, up to `minutes` bars of each.

    Twelve Data charges a credit per symbol, of which 8 fit into a minute's credits of the free plan.
    """

    per_symbol: int = 1
    per_call: int = 0
    symbols: int = 1
    minutes: int = 5000

    def __post_init__(self) -> None:
        if min(self.per_symbol, self.per_call) < 0 or min(self.symbols, self.minutes) < 1:
            raise ValueError(f"{self}: credits are not negative, and a call has at least one symbol and one minute")

    def of(self, symbols: int) -> int:
        """Credits for pulling so many symbols once, in as few calls as possible."""
        return symbols * self.per_symbol + -(-symbols // self.symbols) * self.per_call

    def kept(self, symbols: int) -> int:
        """Credits that pay for so many pulls after one close, however a minute's limit spreads them over ticks.

        Where symbols cost something, a minute's credits may end in the middle of a call: each may need its own.
        """
        return self.of(symbols) if not self.per_symbol else symbols * (self.per_symbol + self.per_call)

    def affordable(self, credit: float) -> int:
        """How many symbols these credits pay for at once."""
        if np.isinf(credit) or not (self.per_symbol or self.per_call):
            return _ALL
        if not self.per_symbol:
            return int(credit // self.per_call) * self.symbols
        count = int(credit // self.per_symbol)
        while count and self.of(count) > credit:
            count -= 1
        return count


@dataclass(frozen=True, slots=True)
class Budget:
    """Credits left over all keys, today's until `resets_at` (datetime64[s], UTC) and this minute's; None: no limit."""

    today: int | None
    minute: int | None
    resets_at: np.datetime64


NO_LIMIT = Budget(None, None, np.datetime64("NaT", "s"))
"""The budget of a vendor without credits, such as Yahoo Finance and Binance; their rates are the limiter's affair."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What a tick knows of each instrument; arrays of one length, in the order of `symbols`.

    weight: importance, above 0. due: minutes that have ended and are not complete. waited: minutes of trading since the
    instrument was last asked for, or complete. left: minutes of trading until the reset. open: the market trades now.
    missed: a session has closed and is not complete. tried: it was asked for since that close. Instants (datetime64[s])
    are since, from which `waited` is counted; asked_at, the last request; closed_at, the last close; closes_at, the
    next one, NaT unless it comes before the reset.
    """

    symbols: Sequence[str]
    weight: Floats
    due: Integers
    waited: Integers
    left: Integers
    open: Flags
    missed: Flags
    tried: Flags
    since: Instants
    asked_at: Instants
    closed_at: Instants
    closes_at: Instants


class Decision(StrEnum):
    """What a tick does with an instrument, and why."""

    LAST_PULL = "last pull after the close"
    ASKED = "asked"
    NOTHING_DUE = "nothing is due"
    PACED = "its next pull comes later"
    SETTLING = "the last pull waits for the vendor's last minute"
    RETRYING = "the last pull was incomplete and is repeated later"
    MINUTE_LIMIT = "this minute's credits are used"
    KEPT = "the credits left are kept for closes"
    NO_CREDITS = "today's credits do not suffice for its close"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a tick asks for and what waits.

    calls: the symbols of each call, most urgent first. cost: credits they take. decisions are per instrument. kept:
    credits kept for closes after this tick. unpaid: symbols for whose close today's credits do not suffice. left:
    credits left today after the tick, None without a limit. stale: weighted minutes due, before and after the tick if
    every pull succeeds.
    """

    symbols: Sequence[str]
    calls: tuple[tuple[str, ...], ...]
    cost: int
    decisions: tuple[Decision, ...]
    kept: int
    unpaid: tuple[str, ...]
    left: int | None
    stale: tuple[float, float]

    @property
    def asked(self) -> tuple[str, ...]:
        """The symbols asked for, most urgent first."""
        return tuple(symbol for call in self.calls for symbol in call)

    def summary(self) -> dict[str, int | float | str]:
        """For run metadata: a handful of plain values."""
        counts = {decision: self.decisions.count(decision) for decision in Decision}
        return {
            "symbols_asked": ", ".join(self.asked) or "none",
            "calls": len(self.calls),
            "credits_used": self.cost,
            "credits_left_today": "no limit" if self.left is None else self.left,
            "credits_kept_for_closes": self.kept,
            **({"closes_without_credits": ", ".join(self.unpaid)} if self.unpaid else {}),
            "weighted_minutes_due_before": round(self.stale[0], 1),
            "weighted_minutes_due_after": round(self.stale[1], 1),
            **{str(decision): count for decision, count in counts.items() if count},
        }


def candidates(
    instruments: Sequence[Instrument],
    weight: Floats,
    complete_to: Instants,
    asked_at: Instants,
    now: np.datetime64,
    resets_at: np.datetime64,
) -> Candidates:
    """What is known of each instrument at `now`, from its market's trading hours.

    weight: of `importance`. complete_to: the instant up to which every minute is stored or confirmed empty; for one
    without minutes, where they shall begin. asked_at: the last request, NaT for none. resets_at: `Budget.resets_at`,
    NaT without a limit. Raises ValueError for a weight that is not a positive number: such an instrument would starve.
    """
    count = len(instruments)
    light = ~((weight > 0) & np.isfinite(weight))
    if light.any():
        raise ValueError(f"{instruments[int(light.argmax())].symbol}: its weight is {weight[light][0]}, not above 0")
    due, waited, left = np.zeros((3, count), np.int64)
    closed_at, closes_at = np.full((2, count), np.datetime64("NaT", "s"))
    trades = np.zeros(count, bool)
    since = np.fmax(complete_to, asked_at.astype("datetime64[m]"))  # the minute of the request had not ended
    for hours, rows in by_market(instruments, now.astype("datetime64[D]").item(), assume=True):
        closes = hours.next_close(now)
        due[rows] = hours.count(complete_to[rows], now)
        waited[rows] = hours.count(since[rows], now)
        left[rows] = hours.count(now, resets_at)
        trades[rows] = hours.is_open(now)
        closed_at[rows] = hours.last_close(now)
        closes_at[rows] = closes if closes < resets_at else np.datetime64("NaT", "s")
    missed = (complete_to < closed_at) & (due > 0)
    tried = missed & (asked_at >= closed_at)
    symbols = [each.symbol for each in instruments]
    times = since, asked_at, closed_at, closes_at
    return Candidates(symbols, weight, due, waited, left, trades, missed, tried, *times)


def plan(known: Candidates, budget: Budget, cost: CallCost, now: np.datetime64) -> Plan:
    """What the tick at `now` asks for. It never exceeds the budget, nor takes a credit that is kept for a close."""
    today, minute = (np.inf if left is None else max(left, 0) for left in (budget.today, budget.minute))
    reserve = _reserve(known, cost, today, now)
    kept = reserve.credits(known, cost)
    every = pace(known, cost, today - kept)
    codes = _waiting(known, budget, reserve, now)

    last = reserve.pending & (codes != _CODES[Decision.SETTLING])
    closing = _by_urgency(last, known.weight, (now - known.since).astype(np.float64))
    codes[closing] = _CODES[Decision.MINUTE_LIMIT]
    closing = closing[: cost.affordable(minute)]
    reserve = reserve.without(closing)
    free = today - reserve.credits(known, cost)

    turn = np.where(known.tried & ~known.open, now >= _next_try(known), known.waited >= np.floor(every + 0.5))
    untried = known.missed & ~known.tried
    regular = _by_urgency((known.due > 0) & turn & ~untried, known.weight, known.waited.astype(np.float64))
    by_minute = cost.affordable(minute) <= cost.affordable(free)
    codes[regular] = _CODES[Decision.MINUTE_LIMIT if by_minute else Decision.KEPT]
    regular = regular[: max(min(cost.affordable(minute), cost.affordable(free)) - closing.size, 0)]

    codes[closing] = _CODES[Decision.LAST_PULL]
    codes[regular] = _CODES[Decision.ASKED]
    return _plan(known, budget, cost, np.append(closing, regular), reserve, codes)


def pace(known: Candidates, cost: CallCost, spare: float) -> Floats:
    """Minutes of trading between two pulls of each instrument, at least 1; infinite where there is nothing to spend.

    spare: credits to spend until the reset on instruments that trade until then.
    """
    each = cost.per_symbol + cost.per_call / cost.symbols
    pulls = spare / each if each else np.inf
    every = np.ones(known.weight.size)
    left = known.left.astype(np.float64)
    if pulls >= left.sum():
        return every
    if pulls <= 0:
        return np.full(every.size, np.inf)
    root = np.sqrt(known.weight)
    capped = np.zeros(every.size, bool)
    while True:
        # Those pulled every minute take their minutes; the others share what remains.
        free = pulls - left[capped].sum()
        common = (left * root)[~capped].sum() / free if free > 0 else np.inf
        every[~capped] = common / root[~capped]
        faster = ~capped & (every < 1)
        if not faster.any():
            return every
        capped |= faster
        every[capped] = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Reserve:
    """Pulls that today's credits are kept for: pending ones after a close that was, and those of closes to come."""

    pending: Flags
    coming: Flags

    def credits(self, known: Candidates, cost: CallCost) -> int:
        """What they cost: markets that close at one instant share calls."""
        _, counts = np.unique(known.closes_at[self.coming], return_counts=True)
        return cost.kept(int(self.pending.sum())) + sum(cost.kept(count) for count in counts.tolist())

    def without(self, asked: Rows) -> "_Reserve":
        """What is left after these pending pulls."""
        pending = self.pending.copy()
        pending[asked] = False
        return _Reserve(pending, self.coming)


def _reserve(known: Candidates, cost: CallCost, today: float, now: np.datetime64) -> _Reserve:
    """All pulls after closes, or as many of the most urgent instruments as today's credits pay for.

    Then one that is pending is not also paid for a later close of today.
    """
    pending, coming = known.missed & ~known.tried, ~np.isnat(known.closes_at)
    whole = _Reserve(pending, coming)
    if whole.credits(known, cost) <= today:
        return whole
    then = np.where(pending, now, known.closes_at)
    order = _by_urgency(pending | coming, known.weight, (then - known.since).astype(np.float64))
    low, high = 0, order.size
    while low < high:  # the most instruments whose pulls can be paid
        middle = (low + high + 1) // 2
        if _first(order[:middle], pending, coming).credits(known, cost) <= today:
            low = middle
        else:
            high = middle - 1
    return _first(order[:low], pending, coming)


def _first(rows: Rows, pending: Flags, coming: Flags) -> _Reserve:
    chosen = np.zeros(pending.size, bool)
    chosen[rows] = True
    return _Reserve(pending & chosen, coming & ~pending & chosen)


_DECISIONS = tuple(Decision)
_CODES = {decision: code for code, decision in enumerate(_DECISIONS)}


def _waiting(known: Candidates, budget: Budget, reserve: _Reserve, now: np.datetime64) -> Integers:
    """The codes of why each instrument would not be asked for, as if none of them were."""
    codes = np.full(known.due.size, _CODES[Decision.NOTHING_DUE], np.int64)
    due = known.due > 0
    codes[due] = _CODES[Decision.PACED]
    codes[due & known.tried & ~known.open] = _CODES[Decision.RETRYING]
    codes[known.missed & ~known.tried & ~reserve.pending] = _CODES[Decision.NO_CREDITS]
    if budget.today is not None:
        codes[reserve.pending & (now < known.closed_at + SETTLE)] = _CODES[Decision.SETTLING]
    return codes


def _next_try(known: Candidates) -> Instants:
    """When an incomplete last pull is repeated: after 1, 2, 4, 8 … minutes since the close."""
    next_try: Instants = known.asked_at + np.maximum(known.asked_at - known.closed_at, MINUTE)
    return next_try


def _by_urgency(wanted: Flags, weight: Floats, waited: Floats) -> Rows:
    rows = np.flatnonzero(wanted)
    return rows[np.argsort(-weight[rows] * waited[rows] ** 2, kind="stable")]


def _plan(known: Candidates, budget: Budget, cost: CallCost, asked: Rows, reserve: _Reserve, codes: Integers) -> Plan:
    names = [known.symbols[row] for row in asked.tolist()]
    spent = cost.of(asked.size)
    unpaid = ((known.missed & ~known.tried) | ~np.isnat(known.closes_at)) & ~(reserve.pending | reserve.coming)
    unpaid[asked] = False
    after = known.due.copy()
    after[asked] = np.maximum(after[asked] - cost.minutes, 0)
    return Plan(
        symbols=known.symbols,
        calls=tuple(tuple(names[start : start + cost.symbols]) for start in range(0, len(names), cost.symbols)),
        cost=spent,
        decisions=tuple(_DECISIONS[code] for code in codes.tolist()),
        kept=reserve.credits(known, cost),
        unpaid=tuple(known.symbols[row] for row in np.flatnonzero(unpaid).tolist()),
        left=None if budget.today is None else budget.today - spent,
        stale=(float(known.weight @ known.due), float(known.weight @ after)),
    )
