"""How much it matters that an instrument's bars are fresh: one weight per instrument, from 1 to 9.

Belongs here: pure functions on arrays. Does not belong here: what a tick asks for (`intraday.budget_planner`), reading
holdings and prices (storage).

An instrument weighs 1, plus up to 4 for what is held of it, up to 2 for its size and up to 2 for its recent volatility.
Holdings come first because a stale price is then a wrong balance. The range is narrow on purpose: pulls are spaced by
the square root of the weight, so the lightest instrument is asked for a third as often as the heaviest.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

type Floats = NDArray[np.float64]

HELD, SIZE, VOLATILE = 4.0, 2.0, 2.0
"""What each of the three adds at most."""

DAYS = 20
"""Daily returns in the recent volatility: a month of trading."""


def importance(holdings_value: ArrayLike, market_cap: ArrayLike, volatility: ArrayLike) -> Floats:
    """The weight of each instrument; the three arrays have one length, NaN where a value is unknown.

    holdings_value: what is held, in one currency, negative for short positions; anything held counts at least half.
    market_cap: in one currency; ranked, because sizes span five powers of ten; unknown counts as smallest.
    volatility: of any one kind; half at the median of the known ones, and where it is unknown.
    """
    held, size, moved = (np.asarray(each, np.float64) for each in (holdings_value, market_cap, volatility))
    if not held.shape == size.shape == moved.shape or held.ndim != 1:
        raise ValueError(f"shapes {held.shape}, {size.shape}, {moved.shape}: give three arrays of one length")
    return 1 + HELD * _share_held(held) + SIZE * _rank(size) + VOLATILE * _share_moved(moved)


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
