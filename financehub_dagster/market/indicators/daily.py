"""The rows of the daily indicators: every declared indicator over each instrument's whole history of daily bars.

Belongs here: which bars count and which rows come of them. Does not belong here: formulas (`engine`, `formulas`).
Imports TA-Lib, so it is itself imported only where indicators are computed.
"""

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.derived import DerivedRows
from financehub_dagster.market.indicators import engine


def compute(bars: BarArrays, traded: NDArray[np.bool_]) -> DerivedRows:
    """One row for each bar; all NaN for a bar that is no trade (`traded` is False), which no other row counts."""
    # The range of a doubtful bar is widened to its open and close: ratios within the range keep their bounds.
    high = np.maximum(bars.high, np.maximum(bars.open, bars.close))
    low = np.minimum(bars.low, np.minimum(bars.open, bars.close))
    arrays = (bars.open, high, low, bars.close, bars.volume)
    if traded.all():
        values = engine.compute_many(bars.offsets, *arrays)
    else:
        offsets = np.append(0, np.cumsum(traded))[bars.offsets]
        values = {}
        for name, known in engine.compute_many(offsets, *(array[traded] for array in arrays)).items():
            values[name] = np.full(len(traded), np.nan)
            values[name][traded] = known
    return DerivedRows(np.repeat(np.arange(len(bars.symbols)), np.diff(bars.offsets)), bars.date, values)
