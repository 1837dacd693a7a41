"""How large a position is: fixed fractional, and by the risk of a move of some average true ranges.

Belongs here: pure functions on arrays. Does not belong here: reading holdings, prices and settings.

Both sizes are whole positions, of which what is held already is a part. Stocks are bought in whole units, cryptos and
currencies in fractions. Formulas: R. Vince, Portfolio Management Formulas (1990); V. Tharp, Trade Your Way to Financial
Freedom (1998), the percent volatility model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

_ROUNDED = 1 + 4 * np.finfo(np.float64).eps
"""More than products and quotients round by: 3 % of 1,000 at a price of 0.75 are 40 units, but come out just below."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """fraction: of equity, that a position costs; risk: of equity, that is lost at the stop.

    stop_ranges: how many average true ranges below the price the stop is.
    """

    fraction: float = 0.05
    risk: float = 0.01
    stop_ranges: float = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Units of each position, one value per row; stop and risk_units are NaN where the range is unknown."""

    fraction_units: Floats
    stop: Floats
    risk_units: Floats


def position_sizes(
    equity: float, price: Floats, atr: Floats, whole_units: NDArray[np.bool_], sizing: Sizing = Sizing()
) -> Sizes:
    """The two sizes of positions at `price`, for `equity` in the same currency.

    fraction_units = fraction x equity / price; stop = price - stop_ranges x atr; risk_units = risk x equity / (price -
    stop), but never more than equity buys. A stop below 0 stays: nothing is lost beyond the price, so the size is one
    for a stop at 0.
    """

    def bought(units: Floats) -> Floats:
        return np.where(whole_units, np.floor(units * _ROUNDED), units)

    reach = sizing.stop_ranges * np.where(atr > 0, atr, np.nan)
    stop = price - reach
    at_risk = np.minimum(reach, price)
    affordable = equity / price
    return Sizes(
        bought(sizing.fraction * affordable), stop, bought(np.minimum(sizing.risk * equity / at_risk, affordable))
    )
