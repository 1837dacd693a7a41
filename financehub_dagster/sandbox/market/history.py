"""A price history as arrays, and what of it can be seen while a session is still running.

Belongs here: the value and its slicing. Does not belong here: where its numbers come from.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.sandbox.market.recordings import Floats, Prices


@dataclass(frozen=True, slots=True)
class History(Prices):
    """Daily bars in date order.

    date is datetime64[D]; opens and closes are the session's UTC epoch seconds (closes excluded); prices are in the
    instrument's currency, all on the basis after every split; dividend is the amount whose ex-date the row is (0:
    none); split is the number of new shares per old one taking effect on the row (1: none); recorded says whether the
    row is a real recorded price.
    """

    date: NDArray[np.datetime64]
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    dividend: Floats
    split: Floats
    recorded: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        date: NDArray[np.datetime64],
        opens: NDArray[np.int64],
        closes: NDArray[np.int64],
        columns: tuple[Floats, Floats, Floats, Floats, Floats],
        recorded: bool,
    ) -> Self:
        """Bars without corporate actions; columns are open, high, low, close, volume."""
        n = len(date)
        return cls(*columns, date, opens, closes, np.zeros(n), np.ones(n), np.full(n, recorded))

    def as_traded(self) -> Self:
        """Prices and volumes before anybody adjusted them for the splits within this history."""
        later = np.append(np.cumprod(self.split[::-1])[::-1][1:], 1.0) if len(self) else np.empty(0)
        prices = {name: getattr(self, name) * later for name in ("open", "high", "low", "close")}
        return replace(self, **prices, volume=self.volume / later)

    def dividend_adjusted(self) -> Floats:
        """Closes times the product of 1 - dividend / previous close over every later ex-date."""
        kept = 1 - self.dividend[1:] / self.close[:-1]
        factors = np.append(np.where(np.isfinite(kept) & (kept > 0), kept, 1.0), 1.0)
        adjusted: Floats = self.close * np.cumprod(factors[::-1])[::-1] if len(self) else self.close
        return adjusted

    @property
    def origin(self) -> str:
        """recorded, generated, mixed, or none where there are no rows."""
        return origin_of(self.recorded)


def origin_of(recorded: NDArray[np.bool_]) -> str:
    """recorded, generated, mixed, or none: what rows are of which each says whether it was recorded."""
    if not len(recorded):
        return "none"
    kinds = {bool(recorded.any()), bool(recorded.all())}
    return "mixed" if len(kinds) == 2 else ("recorded" if kinds.pop() else "generated")


def common_origin(parts: Iterable[str]) -> str:
    """The origin of several parts of an answer together, in the words of `History.origin`."""
    origins = set(parts) - {"none"}
    return "mixed" if len(origins) > 1 else next(iter(origins), "none")


def unfinished(history: History, now: float, decimals: int) -> History:
    """`history` with its last bar as it looks at `now`: part of the way from open to close, with part of its volume."""
    if not len(history) or history.closes[-1] <= now:
        return history
    opens, closes = int(history.opens[-1]), int(history.closes[-1])
    elapsed = (now - opens) / (closes - opens)
    open_, high, low, close = (float(column[-1]) for column in (history.open, history.high, history.low, history.close))
    price = round(open_ + (close - open_) * elapsed, decimals)
    so_far = {
        "high": max(open_, price, round(open_ + (high - open_) * elapsed, decimals)),
        "low": min(open_, price, round(open_ + (low - open_) * elapsed, decimals)),
        "close": price,
        "volume": float(np.floor(history.volume[-1] * elapsed)),
    }
    columns = {}
    for name, value in so_far.items():
        columns[name] = getattr(history, name).copy()
        columns[name][-1] = value
    return replace(history, **columns)
