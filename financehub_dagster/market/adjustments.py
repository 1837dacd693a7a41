"""On which basis a vendor's daily prices stand: the splits and dividends that are taken out of them.

Belongs here: arithmetic on one instrument's bars and corporate actions. Does not belong here: what is stored, and what
is asked of vendors when a basis moves (ingest.history.restating). Imports numpy and pandas: import it inside functions.

A price series stands on one basis when each step between two sessions is a movement of the market: every split is
divided out of the prices before it, and every dividend out of the adjusted closes before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import isfinite, isnan, log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

type Day = date

PRICES = ("open", "high", "low", "close", "adj_close")
CASH = ("dividend", "capital_gain")
"""Kinds of actions that adjusted closes take out."""

LEAST_SPLIT = log(1.25)
"""A smaller split than 5:4 cannot be told from a day's movement."""
SHARE_OF_SPLIT, MOST_MOVED = 0.35, 0.25
"""How far the step on the day of a split may be from its ratio: a share of the ratio, and at most what a price moves in
a session; both on a logarithmic scale."""
TWICE_DAYS = 4
"""Two splits of one ratio within so many days (two sessions with a weekend between them) are one, told twice."""

SAME_PRICE = 1e-3
"""Closes that differ by less stand on one basis: a vendor's correction, or its rounding."""
SAME_FACTOR = 1e-5
"""Ratios of adjusted close to close that differ by less stand on one basis. Yahoo's are float32, with a noise of 2e-7;
the smallest dividends are some 1e-4 of the price."""


class Applied(NamedTuple):
    """A split that was divided out here: the first session after it, the last one before it, their closes as served.

    ratio is what earlier prices were divided by.
    """

    date: Day
    ratio: float
    close: float
    previous_date: Day
    previous_close: float


class Adjusted(NamedTuple):
    """Bars and actions on one basis; `applied` are splits that the vendor's prices did not take out, or took out twice.

    twice are the rows of actions that tell of a split again.
    """

    bars: "pd.DataFrame"
    actions: "pd.DataFrame"
    applied: list[Applied]
    twice: "pd.DataFrame"


def with_splits_applied(bars: "pd.DataFrame", actions: "pd.DataFrame") -> Adjusted:
    """Take those splits out of `bars` that their prices show not to be taken out, and count one told twice once.

    bars (date, PRICES, volume) in date order; actions (date, kind, value). Where the price falls by the ratio of a
    split on its ex-date, the vendor has not adjusted its history yet: earlier prices and cash are divided by the ratio,
    volumes multiplied. Where a split is told twice, prices may show that both were taken out: one is put back.
    """
    is_split = (actions["kind"] == "split").to_numpy(bool)
    values = actions["value"].to_numpy(np.float64)
    told = sorted(
        (day, row)
        for row, day in zip(np.flatnonzero(is_split).tolist(), actions["date"].dt.date[is_split], strict=True)
        if values[row] > 0 and isfinite(values[row])
    )
    applied: list[Applied] = []
    twice: list[int] = []
    for same in _told_once(told, values):
        steps = {row: _step(bars, day, values[row]) for day, row in same}
        kept = max((row for _, row in same), key=lambda row: steps[row])
        twice += [row for _, row in same if row != kept]
        for day, row in same:
            step = steps[row]
            if (step == 1 and row == kept) or (step == -1 and len(same) > 1):
                ratio = float(values[row] ** step)
                applied.append(_applied(bars, day, ratio))
                bars, actions = _divided(bars, actions, day, ratio)
    if not twice:
        return Adjusted(bars, actions, applied, actions.iloc[:0])
    left = np.setdiff1d(np.arange(len(actions)), twice)
    return Adjusted(bars, actions.iloc[left].reset_index(drop=True), applied, actions.iloc[twice])


def _told_once(told: list[tuple[date, int]], values: NDArray[np.float64]) -> list[list[tuple[date, int]]]:
    """Splits in order, those that are one told several times together."""
    groups: list[list[tuple[date, int]]] = []
    for day, row in told:
        for group in groups:
            last, other = group[-1]
            if (day - last).days <= TWICE_DAYS and np.isclose(values[row], values[other], rtol=1e-6):
                group.append((day, row))
                break
        else:
            groups.append([(day, row)])
    return groups


def _step(bars: "pd.DataFrame", day: date, ratio: float) -> int:
    """What prices show on `day`: 1: the split is not taken out; -1: it is taken out twice; 0: neither, or unknown."""
    at = int(np.searchsorted(bars["date"].to_numpy().astype("datetime64[D]"), np.datetime64(day)))
    if not 0 < at < len(bars) or abs(log(ratio)) < LEAST_SPLIT:
        return 0
    before = float(bars["close"].iloc[at - 1])
    opened, closed = float(bars["open"].iloc[at]), float(bars["close"].iloc[at])
    if not (before > 0 and opened > 0 and closed > 0):
        return 0
    size, room = log(ratio), min(SHARE_OF_SPLIT * abs(log(ratio)), MOST_MOVED)
    moved = log(before) - (log(opened) + log(closed)) / 2
    return next((step for step in (1, -1) if abs(moved - step * size) <= room), 0)


def _applied(bars: "pd.DataFrame", day: date, ratio: float) -> Applied:
    at = int(np.searchsorted(bars["date"].to_numpy().astype("datetime64[D]"), np.datetime64(day)))
    days, closes = bars["date"].iloc[at - 1 : at + 1].dt.date.tolist(), bars["close"].iloc[at - 1 : at + 1].tolist()
    return Applied(days[1], ratio, closes[1], days[0], closes[0])


def _divided(
    bars: "pd.DataFrame", actions: "pd.DataFrame", day: date, ratio: float
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Prices and cash before `day` divided by `ratio`, volumes multiplied by it."""
    day_of = np.datetime64(day)
    earlier = bars["date"].to_numpy().astype("datetime64[D]") < day_of
    changed = {
        name: _where(earlier, bars[name].to_numpy(np.float64), lambda old: _quotient(old, ratio)) for name in PRICES
    }
    changed["volume"] = _where(earlier, bars["volume"].to_numpy(np.float64), lambda old: old * ratio)
    cash = actions["kind"].isin(CASH).to_numpy(bool)
    paid = cash & (actions["date"].to_numpy().astype("datetime64[D]") < day_of)
    values = _where(paid, actions["value"].to_numpy(np.float64), lambda old: _quotient(old, ratio))
    return bars.assign(**changed), actions.assign(value=values)


def _where(
    chosen: NDArray[np.bool_], values: NDArray[np.float64], change: Callable[[float], float]
) -> NDArray[np.float64]:
    """A copy of `values` with those that are `chosen` changed."""
    changed = values.copy()
    changed[chosen] = [change(old) for old in values[chosen].tolist()]
    return changed


def _quotient(price: float, ratio: float) -> float:
    """As a decimal of up to 15 significant digits: 992.7 over 10 is 99.27, without a binary remainder."""
    return float(f"{Decimal(repr(price)) / Decimal(repr(ratio)):.14e}") if isfinite(price) else price


@dataclass(frozen=True, slots=True)
class Moved:
    """Whether the basis of closes moved (a split), and that of adjusted closes against them (a dividend)."""

    prices: bool
    factor: bool

    def __bool__(self) -> bool:
        return self.prices or self.factor


def moved(before: tuple[float, float], after: tuple[float, float], *, tolerance: float = SAME_FACTOR) -> Moved:
    """How the basis moved between two readings of one session, each (close, adj_close); NaN: not known.

    An adjusted close that was not known and now is moves the basis as well; one that is not known any more does not.
    """
    prices = abs(after[0] / before[0] - 1) > SAME_PRICE
    if isnan(after[1]):
        return Moved(prices, factor=False)
    if isnan(before[1]) or before[1] == 0:
        return Moved(prices, factor=True)
    return Moved(prices, abs((after[1] / after[0]) / (before[1] / before[0]) - 1) > tolerance)


def still_taken_out(bars: "pd.DataFrame", day: date, cash: float) -> bool:
    """Do the adjusted closes of `bars` still take out a payment of `cash` a share with this ex-date?"""
    at = int(np.searchsorted(bars["date"].to_numpy().astype("datetime64[D]"), np.datetime64(day)))
    if not 0 < at < len(bars):
        return False
    close, adjusted = (bars[name].to_numpy(np.float64)[at - 1 : at + 1] for name in ("close", "adj_close"))
    factors = adjusted / close
    if not (np.isfinite(factors).all() and (factors > 0).all() and 0 < cash < close[0]):
        return False
    wanted = log(1 - cash / close[0])
    return bool(abs(log(factors[0] / factors[1]) - wanted) < abs(wanted) / 2 and abs(wanted) > SAME_FACTOR)


def ratios_by_stretch(
    events: NDArray[np.datetime64], days: NDArray[np.datetime64], ratios: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The ratio from the old basis to the new one in each stretch between `events`, in order; len(events) + 1 of them.

    days and ratios: sessions read on both bases. The median counts, so that one corrected bar changes nothing. A
    stretch without sessions has the ratio of the next later one that has any, since an event moves everything before
    it; the last ones have 1.
    """
    found = np.full(len(events) + 1, np.nan)
    stretch = np.searchsorted(events, days, side="right")
    for place in np.unique(stretch[np.isfinite(ratios)]):
        found[place] = np.median(ratios[(stretch == place) & np.isfinite(ratios)])
    last = 1.0
    for place in range(len(found) - 1, -1, -1):
        last = found[place] = last if np.isnan(found[place]) else found[place]
    return found
