"""How much it matters that an instrument's bars are fresh: one weight per instrument, from 1 to 9.

Belongs here: pure functions on arrays. Does not belong here: what a tick asks for (`intraday.budget_planner`), reading
holdings and prices (storage).

An instrument weighs 1, plus up to 4 for what is held of it, up to 1.5 for its size, up to 1.5 for its recent volatility
and up to 1 for the sessions it is behind. Holdings come first because a stale price is then a wrong balance. The range
is narrow on purpose: pulls are spaced by the square root of the weight, so the lightest instrument is asked for a third
as often as the heaviest.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from financehub_dagster.market import calendars
from financehub_dagster.market.instruments import Instrument

type Floats = NDArray[np.float64]

HELD, SIZE, VOLATILE, STALE = 4.0, 1.5, 1.5, 1.0
"""What each of the four adds at most."""

HALF_STALE = 5
"""Sessions behind, a week of them, for which an instrument gets half of STALE."""

FAR_BEHIND = timedelta(days=60)

DAYS = 20
"""Daily returns in the recent volatility: a month of trading."""


def importance(
    holdings_value: ArrayLike, market_cap: ArrayLike, volatility: ArrayLike, behind: ArrayLike | None = None
) -> Floats:
    """The weight of each instrument; the arrays have one length, NaN where a value is unknown.

    holdings_value: what is held, in one currency, negative for short positions; anything held counts at least half.
    market_cap: in one currency; ranked, because sizes span five powers of ten; unknown counts as smallest.
    volatility: of any one kind; half at the median of the known ones, and where it is unknown.
    behind: sessions that have ended since the last stored one, infinite where none is stored; None: of no instrument.
    """
    held, size, moved = (np.asarray(each, np.float64) for each in (holdings_value, market_cap, volatility))
    late = np.zeros(held.shape) if behind is None else np.asarray(behind, np.float64)
    if not held.shape == size.shape == moved.shape == late.shape or held.ndim != 1:
        shapes = ", ".join(str(each.shape) for each in (held, size, moved, late))
        raise ValueError(f"shapes {shapes}: give arrays of one length")
    shares = HELD * _share_held(held) + SIZE * _rank(size) + VOLATILE * _share_moved(moved) + STALE * _share_late(late)
    return 1 + shares


def weights(instruments: Sequence[Instrument]) -> Floats:
    """The stored importance of each instrument; by its size alone where none has been computed yet."""
    unknown = np.full(len(instruments), np.nan)
    sizes = np.array([np.nan if each.market_cap is None else each.market_cap for each in instruments], np.float64)
    stored = np.array([np.nan if each.importance is None else each.importance for each in instruments], np.float64)
    return np.where(np.isnan(stored), importance(unknown, sizes, unknown), stored)


def sessions_behind(instruments: Sequence[Instrument], newest: Sequence[date | None], now: datetime) -> Floats:
    """How many sessions of each market have ended after the instrument's `newest` stored one, at `now` (aware).

    Infinite where none is stored; counted over FAR_BEHIND, which weighs nearly as much.
    """

    def ended(of: Instrument) -> NDArray[np.datetime64]:
        recent = calendars.known(of, (now - FAR_BEHIND).date(), now.date())
        return recent.dates[recent.closes <= calendars.instant(now)]

    found = np.full(len(instruments), np.inf)
    for row, (dates, last) in enumerate(zip(calendars.once_a_market(instruments, ended), newest, strict=True)):
        if last is not None:
            found[row] = np.count_nonzero(dates > np.datetime64(last, "D"))
    return found


def recent_volatility(offsets: ArrayLike, close: ArrayLike) -> Floats:
    """For each instrument the standard deviation of its last daily log returns; NaN with fewer than 2 of them.

    The closes of instruments are laid end to end, oldest first: instrument i owns offsets[i] to offsets[i + 1].
    """
    bounds, closes = np.asarray(offsets, np.int64), np.asarray(close, np.float64)
    back = np.arange(-DAYS - 1, 0)
    at = bounds[1:, np.newaxis] + back
    there = at >= bounds[:-1, np.newaxis]
    window = np.where(there, closes[np.where(there, at, 0)] if closes.size else np.nan, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(window), axis=1)
    known = np.isfinite(returns)
    counts = known.sum(axis=1)
    enough = np.maximum(counts, 1)
    mean = np.where(known, returns, 0).sum(axis=1) / enough
    squares = np.where(known, (returns - mean[:, np.newaxis]) ** 2, 0).sum(axis=1)
    return np.where(counts >= 2, np.sqrt(squares / np.maximum(counts - 1, 1)), np.nan)


def _share_held(value: Floats) -> Floats:
    worth = np.nan_to_num(np.abs(value), nan=0.0, posinf=0.0)
    largest = worth.max(initial=0.0)
    share: Floats = np.where(worth > 0, 0.5 + 0.5 * worth / (largest or 1.0), 0.0)
    return share


def _rank(size: Floats) -> Floats:
    """From 0 for unknown to 1 for the largest."""
    known = np.isfinite(size) & (size > 0)
    found = np.zeros(size.size)
    sizes = np.sort(size[known])
    found[known] = np.searchsorted(sizes, size[known], side="right") / max(sizes.size, 1)
    return found


def _share_moved(volatility: Floats) -> Floats:
    known = np.isfinite(volatility) & (volatility >= 0)
    median = float(np.median(volatility[known])) if known.any() else 0.0
    moved = np.where(known, volatility, median)
    share: Floats = np.divide(moved, moved + median, out=np.full(moved.size, 0.5), where=moved + median > 0)
    return share


def _share_late(behind: Floats) -> Floats:
    late = np.clip(np.nan_to_num(behind, nan=0.0, posinf=1e9), 0, 1e9)
    share: Floats = late / (late + HALF_STALE)
    return share
