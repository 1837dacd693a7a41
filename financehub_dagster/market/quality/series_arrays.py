"""Bars of many instruments, one after the other, with their corporate actions: what rules about series read.

Belongs here: the arrangement, and statistics of an instrument's own past. Does not belong here: the rules (`doubts`),
reading what is stored. Imports numpy and pandas: import it inside functions.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market.bar_arrays import DAILY_VALUES

type Floats = NDArray[np.float64]
type Rows = NDArray[np.intp]
type Mask = NDArray[np.bool_]

PAST = 63
"""Bars of the own past that thresholds are made from: a quarter of sessions, long enough for a median, short enough
to follow a market that became more volatile."""
ENOUGH = 20
"""Returns from which on their spread counts; with fewer, UNKNOWN_SPREAD is its least value."""
LEAST_SPREAD, UNKNOWN_SPREAD = 0.005, 0.03
"""Daily log returns: calmer series (funds, bonds) are judged no more strictly; a small company's shares move by 3 %."""
TO_SIGMA = 1.4826
"""From median absolute deviation to standard deviation, of a normal distribution (Rousseeuw and Croux 1993). Deviation
is from 0, as the mean of daily returns is next to nothing, and the median of few different ones is not."""
LEAST_YIELD = 5e-4
"""A yield below this is not told from the rounding of vendors' adjusted closes and payments."""
LARGE = 0.10
"""Log returns below this are nowhere an error that a single bar shows."""
_AT_ONCE = 8192
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Payments:
    """Bars at which something was paid: each array of shape (payments,).

    paid and gained are the dividend and the capital gain as yields on the close before, taken what the factor takes
    out; fell is by what log return the price fell.
    """

    rows: Rows
    paid: Floats
    gained: Floats
    taken: Floats
    fell: Floats


@dataclass(frozen=True)
class Series:
    """Bars in the order of instrument and date, every array of shape (rows,).

    code numbers the instruments. dividend, gain (cash per share) and split (new shares per old one, 1: none) stand at
    the first bar from their ex-date on; splits lists the latter as (bar, ratio). has_actions: does the vendor report
    the instrument's actions, so that an adjustment without one is unexplained? order: where each bar stood before.
    """

    code: NDArray[np.intp]
    date: NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adj_close: Floats
    volume: Floats
    dividend: Floats
    gain: Floats
    splits: list[tuple[int, float]]
    has_actions: Mask
    order: Rows | None

    def __len__(self) -> int:
        """How many bars there are."""
        return len(self.code)

    def rows(self) -> Rows:
        """Where each bar stood in the frame that was arranged."""
        return np.arange(len(self)) if self.order is None else self.order

    @cached_property
    def start(self) -> Rows:
        """The first bar of each bar's instrument."""
        return np.repeat(self.first, np.diff(self.first, append=len(self)))

    @cached_property
    def first(self) -> Rows:
        """The first bar of each instrument."""
        return np.flatnonzero(np.concatenate([[True], self.code[1:] != self.code[:-1]])[: len(self)])

    @cached_property
    def log_close(self) -> Floats:
        """The logarithm of each close."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(self.close))

    @cached_property
    def step(self) -> Floats:
        """Log return from the close before; 0 for the first bar of an instrument."""
        steps = np.zeros(len(self))
        np.subtract(self.log_close[1:], self.log_close[:-1], out=steps[1:])
        steps[self.first] = 0.0
        return steps

    @cached_property
    def depends_on_past(self) -> Mask:
        """Bars that are judged by the spread, or the volume, of those before."""
        depends: Mask = (self.volume == 0) | (self.dividend > 0) | (self.gain > 0)
        depends[self.large] = True
        depends[[row for row, _ in self.splits]] = True
        return depends

    @cached_property
    def large(self) -> Rows:
        """The bars whose step is LARGE."""
        return np.flatnonzero(np.abs(self.step) > LARGE)

    @cached_property
    def payments(self) -> "Payments":
        """The payments whose adjustment can be judged: both closes and both adjusted closes are known."""
        rows = np.flatnonzero((self.dividend > 0) | (self.gain > 0))
        rows = rows[np.isfinite(self.factor[rows]) & np.isfinite(self.factor[rows - 1])]
        before = self.close[rows - 1]
        taken = 1 - self.factor[rows - 1] / self.factor[rows]
        paid, gained = self.dividend[rows] / before, self.gain[rows] / before
        seen = np.maximum(paid + gained, np.abs(taken)) >= LEAST_YIELD
        return Payments(rows[seen], paid[seen], gained[seen], taken[seen], -self.step[rows[seen]])

    @cached_property
    def factor(self) -> Floats:
        """What the adjusted close is of the close; NaN where it is unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.adj_close / self.close)

    def after(self, rows: Rows, count: int = 1) -> Rows:
        """The bar `count` bars later, -1 where the instrument has none."""
        later = np.minimum(rows + count, len(self) - 1)
        return np.where((rows + count < len(self)) & (self.code[later] == self.code[rows]), later, -1)

    def spread(self, rows: Rows) -> Floats:
        """Standard deviation of the PAST log returns before each of `rows`, by their median absolute value."""
        return _by_piece(rows, self._spread)

    def _spread(self, rows: Rows) -> Floats:
        past = self._past(self.step, rows, behind=1)
        count = np.isfinite(past).sum(axis=1)
        deviation = TO_SIGMA * _median(np.abs(past))
        least = np.where(count >= ENOUGH, LEAST_SPREAD, UNKNOWN_SPREAD)
        spread: Floats = np.fmax(deviation, least)
        return spread

    def _past(self, values: Floats, rows: Rows, behind: int) -> Floats:
        """The PAST values before each of `rows`, NaN before the one that stands `behind` the instrument's first."""
        places = rows[:, None] - np.arange(1, PAST + 1)
        past: Floats = np.where(places >= self.start[rows][:, None] + behind, values[np.maximum(places, 0)], np.nan)
        return past


def pick(rows: Rows, which: Mask) -> Rows:
    """Those of `rows` for which the mask is set."""
    picked: Rows = rows[which]
    return picked


def _by_piece(rows: Rows, work: Callable[[Rows], Floats]) -> Floats:
    pieces = [work(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE)]
    return np.concatenate(pieces) if pieces else np.zeros(0)


def _median(values: Floats) -> Floats:
    """The median of the known values of each line; NaN without one."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(values).sum(axis=1)
    lines = np.arange(len(values))
    low, high = (ordered[lines, np.maximum(place, 0)] for place in ((count - 1) // 2, count // 2))
    return np.where(count > 0, (low + np.where(count % 2 == 1, low, high)) / 2, np.nan)


def arrange(bars: pd.DataFrame, actions: pd.DataFrame, complete: set[str] | None = None) -> Series:
    """Bars (symbol, date, DAILY_VALUES) with actions (symbol, date, kind, value) as a Series.

    Bars in any order, one for each symbol and date. complete: the symbols whose actions are all known; None: all are.
    """
    code, symbols = pd.factorize(pd.Index(bars["symbol"]), use_na_sentinel=False)
    columns = {name: bars[name].to_numpy(np.float64, na_value=np.nan) for name in DAILY_VALUES}
    return arrange_arrays(symbols, code, bars["date"].to_numpy(), columns, actions, complete)


def arrange_arrays(
    symbols: "pd.Index[Any]",
    code: Rows,
    date: NDArray[np.datetime64],
    columns: Mapping[str, Floats],
    actions: pd.DataFrame,
    complete: Collection[str] | None = None,
) -> Series:
    """The same of arrays of shape (bars,), DAILY_VALUES by name; code is the place of a bar's symbol in `symbols`."""
    days: NDArray[np.datetime64] = date.astype("datetime64[D]")
    key: NDArray[np.int64] = code.astype(np.int64) << 32 | (days.astype(np.int64) + (1 << 31))
    order = None if (np.diff(key) > 0).all() else np.argsort(key, kind="stable")
    if order is not None:
        code, days, key = code[order], days[order], key[order]
        columns = {name: values[order] for name, values in columns.items()}
    known = np.array([complete is None or symbol in complete for symbol in symbols], np.bool_)
    cash, splits = _placed(key, code, symbols, actions)
    return Series(
        code=code, date=days, **{name: columns[name] for name in DAILY_VALUES},
        dividend=cash["dividend"], gain=cash["capital_gain"], splits=splits, has_actions=known[code], order=order,
    )  # fmt: skip


def _placed(
    key: NDArray[np.int64], code: Rows, symbols: "pd.Index[Any]", actions: pd.DataFrame
) -> tuple[dict[str, Floats], list[tuple[int, float]]]:
    """Cash by kind at the first bar from its ex-date on, and the splits."""
    cash: dict[str, Floats] = {kind: np.zeros(len(key)) for kind in ("dividend", "capital_gain")}
    if actions.empty:
        return cash, []
    number = symbols.get_indexer(pd.Index(actions["symbol"]))
    day = actions["date"].to_numpy().astype("datetime64[D]").astype(np.int64) + (1 << 31)
    at = np.searchsorted(key, number.astype(np.int64) << 32 | day)
    value = actions["value"].to_numpy(np.float64)
    there = (number >= 0) & (at < len(key)) & (value > 0)
    there[there] = code[at[there]] == number[there]
    # An action before the first bar is no news about any of them.
    there[there] = (at[there] > 0) & (code[at[there] - 1] == number[there])
    kind = actions["kind"].to_numpy()
    for name, values in cash.items():
        own = there & (kind == name)
        np.add.at(values, at[own], value[own])
    is_split = there & (kind == "split")
    return cash, list(zip(at[is_split].tolist(), value[is_split].tolist(), strict=True))
