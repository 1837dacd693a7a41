"""Units that exchanges quote prices in: a currency, or a hundredth of one such as the penny.

Belongs here: the table of minor units and exact conversion. Does not belong here: which vendor quotes in which unit
(`providers.listings`) or exchange rates.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MINOR_UNITS = {
    "GBp": ("GBP", -2),
    "GBX": ("GBP", -2),
    "ZAc": ("ZAR", -2),
    "ZAC": ("ZAR", -2),
    "ILA": ("ILS", -2),
}
"""Codes of minor units: the currency, and the power of ten that a price is multiplied by to be in it.

Pence, South African cents and agorot as Yahoo writes them (yfinance, scrapers/history.py: GBp, ZAc, ILA), and as other
vendors do (GBX, ZAC). None of them is an ISO 4217 code.
"""


def unit_of(code: str) -> tuple[str, int]:
    """The currency that prices in `code` are in, and their power of ten: ("GBP", -2) of GBp, ("USD", 0) of USD."""
    return MINOR_UNITS.get(code, (code, 0))


def scaled(value: float, power: int) -> float:
    """A decimal times a power of ten, exactly: 602.55 and -2 make 6.0255, which dividing by 100 does not."""
    return float(Decimal(repr(value)).scaleb(power)) if power else value


def scaled_all(values: Iterable[float], power: int) -> "NDArray[np.float64]":
    """`scaled` of each, float64; NaN stays NaN."""
    import numpy as np

    numbers = np.asarray(values, np.float64)
    if not power:
        return numbers
    made = [scaled(value, power) for value in numbers.ravel().tolist()]
    return np.array(made, np.float64).reshape(numbers.shape)
