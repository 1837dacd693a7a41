"""Prices for reading: as they were traded, adjusted for splits, or adjusted for splits and dividends.

Belongs here: arithmetic from the stored basis (split-adjusted, with `adj_close` beside it) to the other two. Does not
belong here: on which basis a vendor's prices are (`adjustments`), and reading (`serving.read`). Imports numpy: import
it inside functions.

Methods. As traded: prices times the product of the ratios of all splits with a later ex-date, volumes divided by it.
Adjusted: open, high and low times `adj_close / close`, and `adj_close` itself as the close; volumes as stored, since
dividends change no number of shares.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

type Basis = Literal["adjusted", "split", "raw"]
BASES: tuple[Basis, ...] = ("adjusted", "split", "raw")

PRICES = ("open", "high", "low", "close")

NOISE = 1e-7
"""Relative error of a stored price that vendors such as Yahoo serve as float32, whose own is 6e-8."""
DECIMALS = (6, 5, 4, 3, 2)
"""Decimals that quoted prices may have, down to cents."""

type Floats = NDArray[np.float64]
type Days = NDArray[np.datetime64]


def split_factors(days: Days, ex_dates: Days, ratios: Floats) -> Floats:
    """By how much the prices of `days` were divided since: the product of the ratios of the splits after each day.

    days of shape (rows,) in any order; ex_dates and ratios (new shares per old one) of shape (splits,).
    """
    order = np.argsort(ex_dates, kind="stable")
    after = np.append(np.cumprod(ratios[order][::-1])[::-1], 1.0)
    factors: Floats = after[np.searchsorted(ex_dates[order], days, side="right")]
    return factors


def as_traded(prices: Floats, factors: Floats) -> Floats:
    """Split-adjusted prices, or cash per share, as they were at the time, with the decimals that they were quoted with.

    The product carries the stored price's error: a unit of its last decimal (of 4 or fewer; some sources cut off), or
    NOISE, times the factor. So it is rounded to the fewest decimals, from 6 to 2, that are within that error. Values
    without a later split are left as they are.
    """
    changed = np.flatnonzero((factors != 1) & np.isfinite(prices))
    traded = prices.copy()
    stored, factor = prices[changed], factors[changed]
    value = stored * factor
    error = NOISE * np.abs(value)
    for decimals in (4, 3, 2):
        is_short = np.round(stored, decimals) == stored
        error = np.where(is_short, np.maximum(error, 10.0**-decimals * factor), error)
    rounded = value
    for decimals in DECIMALS:
        shorter = np.round(value, decimals)
        rounded = np.where(np.abs(shorter - value) <= error, shorter, rounded)
    traded[changed] = rounded
    return traded


def shares_traded(volumes: Floats, factors: Floats) -> Floats:
    """Split-adjusted volumes in the shares of the time: whole ones where that is within the error of the division."""
    traded = volumes / factors
    whole = np.rint(traded)
    return np.where(np.abs(whole - traded) <= 1e-9 * np.maximum(traded, 1), whole, traded)


def fully_adjusted(prices: Floats, close: Floats, adj_close: Floats) -> Floats:
    """Open, high or low on the basis of `adj_close`; NaN where that is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return prices * (adj_close / close)
