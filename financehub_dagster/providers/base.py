"""What every provider offers the assets, independent of the vendor.

Belongs here: the shapes of answers and the protocols a provider fulfils. Does not belong here: anything of one vendor.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Protocol

from financehub_dagster.market.instruments import Instrument

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DailyBars:
    """One vendor's answer for one instrument.

    bars: one row per finished session in date order: date (datetime64[s], naive session date), open, high, low, close,
    adj_close, volume (float64). actions: date, kind (dividend | split | capital_gain), value. Both may be empty.
    source is the provider's name, fetched_at in UTC, calls the HTTP requests made.
    """

    symbol: str
    bars: "pd.DataFrame"
    actions: "pd.DataFrame"
    source: str
    fetched_at: datetime
    calls: int


class DailyBarsProvider(Protocol):
    """A vendor that has daily bars."""

    def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
        """Finished sessions from `start` to `end`, both included; raises ProviderError."""
        ...


@dataclass(frozen=True)
class ConnectionReport:
    """A vendor answered a cheap question: latency in seconds of the whole call, detail in one line, calls it took."""

    provider: str
    latency: float
    detail: str
    calls: int


class HealthChecked(Protocol):
    """A vendor that can be asked whether it is there."""

    def test_connection(self) -> ConnectionReport:
        """Ask the cheapest question the vendor answers; raises ProviderError."""
        ...
