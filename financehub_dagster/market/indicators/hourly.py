"""The rows of the hourly indicators: every declared one over each instrument's whole history of hours.

Belongs here: which rows come of the bars. Does not belong here: formulas (`engine`, `formulas`). Imports TA-Lib, so it
is itself imported only where indicators are computed.
"""

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.calendar_source import Days
from financehub_dagster.market.derived import DerivedRows
from financehub_dagster.market.indicators import engine
from financehub_dagster.market.indicators.columns import INDICATORS_1H


def compute(bars: BarArrays, _: NDArray[np.bool_], sessions: Days) -> DerivedRows:
    """One row for each bar; sessions has the date of the session that each bar belongs to."""
    # The range of a doubtful bar is widened to its open and close: ratios within the range keep their bounds.
    high = np.maximum(bars.high, np.maximum(bars.open, bars.close))
    low = np.minimum(bars.low, np.minimum(bars.open, bars.close))
    arrays = (bars.open, high, low, bars.close, bars.volume)
    values = engine.compute_many(bars.offsets, *arrays, columns=INDICATORS_1H, sessions=sessions)
    return DerivedRows(np.repeat(np.arange(len(bars.symbols)), np.diff(bars.offsets)), bars.date, values)
