"""What every vendor's bars have in common, as pure functions of arrays.

Belongs here: arithmetic of prices and volumes. Does not belong here: sessions (`calendars`), rules a bar must
keep (`quality`), any vendor's field names. Imports numpy, so it is itself imported only where bars are handled.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_POWERS = 10.0 ** np.arange(23)
"""Powers of ten that a double holds exactly."""

_DIGITS = range(6, 10)
"""Significant digits tried: any decimal of 6 survives float32, and 9 tell any two float32 apart."""

_MAGNITUDES = (-14, 27)
"""Powers of ten between which every scale needed is one of _POWERS; others are taken one by one."""


def shortest_float32(values: ArrayLike) -> NDArray[np.float64]:
    """The shortest decimal of each float32, as the double nearest to that decimal; NaN and infinities stay.

    A price of 239.65 that a vendor keeps as float32 and prints as a double arrives as 239.64999389648438; this gives
    239.65 back. values: any shape, doubles that a float32 holds (others are rounded to float32 first).
    """
    given = np.asarray(values, dtype=np.float32)
    singles = given.ravel()
    exact = singles.astype(np.float64)
    result = exact.copy()
    left = np.flatnonzero(np.isfinite(exact) & (exact != 0))
    magnitude = np.floor(np.log10(np.abs(exact[left]))).astype(np.int64)
    plain = (magnitude >= _MAGNITUDES[0]) & (magnitude <= _MAGNITUDES[1])
    for row in left[~plain]:
        result[row] = float(str(singles[row]))
    left, magnitude = left[plain], magnitude[plain]
    for digits in _DIGITS:
        scale = digits - 1 - magnitude
        up, down = _POWERS[np.maximum(scale, 0)], _POWERS[np.maximum(-scale, 0)]
        # A whole number below 2**53 times or over an exact power of ten is the double nearest to that decimal.
        decimal = np.rint(exact[left] * up / down) / up * down
        fits = decimal.astype(np.float32) == singles[left]
        result[left[fits]] = decimal[fits]
        left, magnitude = left[~fits], magnitude[~fits]
    return result.reshape(given.shape)
