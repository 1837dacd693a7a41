"""An instrument as a quote sees it: the running or last session beside the one before.

Belongs here: figures that several vendors derive from the same bars. Does not belong here: any vendor's names or number
formats for them.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.sandbox.market.history import History
from financehub_dagster.sandbox.market.market import Market


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Prices in the instrument's currency, volume in units of it; what a test made missing is NaN.

    time is the last trade in UTC epoch seconds, date the session's; average_volume covers up to 63 sessions.
    """

    date: date
    time: int
    is_open: bool
    open: float
    high: float
    low: float
    price: float
    volume: float
    previous_close: float
    year_high: float
    year_low: float
    average_volume: float
    origin: str

    @property
    def change(self) -> float:
        """Since the close before."""
        return self.price - self.previous_close

    @property
    def percent(self) -> float:
        """The change in percent; NaN where the close before is nothing."""
        return 100 * self.change / self.previous_close if self.previous_close else float("nan")


def snapshot(market: Market, instrument: Instrument) -> Snapshot | None:
    """The quote of `instrument` now; None before its first session."""
    history = market.daily(instrument)
    return snapshot_of(history, market.now()) if len(history) else None


def snapshot_of(history: History, now: float) -> Snapshot:
    """The quote at the end of a history with at least one row."""
    previous = history.close[-2] if len(history) > 1 else history.open[-1]
    year = history[-252:]
    return Snapshot(
        date=history.date[-1].astype(object),
        time=int(min(now, history.closes[-1])),
        is_open=bool(history.closes[-1] > now),
        open=float(history.open[-1]),
        high=float(history.high[-1]),
        low=float(history.low[-1]),
        price=float(history.close[-1]),
        volume=float(history.volume[-1]),
        previous_close=float(previous),
        year_high=float(np.nanmax(year.high)),
        year_low=float(np.nanmin(year.low)),
        average_volume=float(np.nanmean(history.volume[-63:])),
        origin=history[-1:].origin,
    )
