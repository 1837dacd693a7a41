"""Bars of many instruments as arrays: what tables that are computed from bars are computed from.

Belongs here: the shape. Does not belong here: reading them (`storage.queries.bars`), arithmetic (`bars`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close", "volume")
DAILY_VALUES = ("open", "high", "low", "close", "adj_close", "volume")
"""The numbers of a daily bar, each of which a repair may change."""


@dataclass(frozen=True)
class BarArrays:
    """Bars of several instruments, one after the other in date order.

    Instrument number i is symbols[i] and has the rows offsets[i]:offsets[i + 1] of each array. date is datetime64[D] of
    shape (rows,), the others float64 of the same shape; symbols without bars are left out.
    """

    symbols: list[str]
    offsets: "NDArray[np.int64]"
    date: "NDArray[np.datetime64]"
    open: "NDArray[np.float64]"
    high: "NDArray[np.float64]"
    low: "NDArray[np.float64]"
    close: "NDArray[np.float64]"
    volume: "NDArray[np.float64]"

    def frame(self) -> "pd.DataFrame":
        """The bars as a table with the columns symbol, date (datetime64[s]), open, high, low, close, volume."""
        import numpy as np
        import pandas as pd

        names = np.repeat(np.array(self.symbols, object), np.diff(self.offsets))
        prices = {name: getattr(self, name) for name in PRICES}
        return pd.DataFrame({"symbol": names, "date": self.date.astype("datetime64[s]"), **prices})
