"""The rows of indicators: every declared one over each instrument's whole history of daily or hourly bars.

Belongs here: which bars count and which rows come of them. Does not belong here: formulas (`engine`, `formulas`).
Imports TA-Lib, so it is itself imported only where indicators are computed.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.calendar_source import Days
from financehub_dagster.market.derived import DerivedRows
from financehub_dagster.market.indicators import engine
from financehub_dagster.market.indicators.columns import INDICATORS_1H


def trades(bars: BarArrays, traded: NDArray[np.bool_]) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """The bars that were trades, as the engine takes them: offsets, and open, high, low, close, volume by name.

    The range of a doubtful bar is widened to its open and close: ratios within the range keep their bounds.
    """
    high = np.maximum(bars.high, np.maximum(bars.open, bars.close))
    low = np.minimum(bars.low, np.minimum(bars.open, bars.close))
    arrays = {"open": bars.open, "high": high, "low": low, "close": bars.close, "volume": bars.volume}
    if traded.all():
        return bars.offsets, arrays
    offsets = np.append(0, np.cumsum(traded))[bars.offsets]
    return offsets, {name: values[traded] for name, values in arrays.items()}


def compute(bars: BarArrays, traded: NDArray[np.bool_]) -> DerivedRows:
    """One row for each bar; all NaN for a bar that is no trade (`traded` is False), which no other row counts."""
    offsets, arrays = trades(bars, traded)
    values = engine.compute_many(offsets, **arrays)
    if not traded.all():
        for name, known in values.items():
            values[name] = np.full(len(traded), np.nan)
            values[name][traded] = known
    return _rows(bars, values)


def compute_hours(bars: BarArrays, traded: NDArray[np.bool_], sessions: Days) -> DerivedRows:
    """One row for each hour, all of which are trades; sessions has the date of the session that each belongs to."""
    offsets, arrays = trades(bars, traded)
    return _rows(bars, engine.compute_many(offsets, **arrays, columns=INDICATORS_1H, sessions=sessions))


def _rows(bars: BarArrays, values: Mapping[str, NDArray[np.float64]]) -> DerivedRows:
    return DerivedRows(np.repeat(np.arange(len(bars.symbols)), np.diff(bars.offsets)), bars.date, values)
