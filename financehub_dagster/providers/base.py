"""What every provider offers the assets, independent of the vendor.

Belongs here: the shapes of answers and the protocols a provider fulfils. Does not belong here: anything of one vendor,
or building the frames (`frames`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from financehub_dagster.gateway.errors import ProviderError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DailyBars:
    """One vendor's answer for one instrument.

    bars: one row per finished session in date order: date (datetime64[s], naive session date), open, high, low, close,
    adj_close, volume (float64). actions: date, kind (dividend | split | capital_gain), value. Both may be empty.
    adj_close is NaN where the vendor does not say it. source is the provider's name, fetched_at in UTC, calls the HTTP
    requests made. all_actions: are those all dividends and splits of the range, or merely what this vendor tells?
    told_since is the first session this plan reaches back to where that is within the range: of earlier ones nothing
    is said, not even that there are none. listed_since is the first session that the vendor has of the instrument by
    its own words, None where it does not say. Rows that could not be read have NaN in place of the number, for the
    table to reject. holes are days that the vendor lists without prices: it has not said that there was no trade.
    """

    symbol: str
    bars: "pd.DataFrame"
    actions: "pd.DataFrame"
    source: str
    fetched_at: datetime
    calls: int
    all_actions: bool = False
    told_since: date | None = None
    listed_since: date | None = None
    holes: Sequence[date] = ()


@dataclass(frozen=True)
class IntradayBars:
    """One vendor's answer for the bars of one instrument within days.

    interval is the length of a bar in minutes: 1, 5, 15 or 60. bars: one row per bar that is over, in order, each once:
    ts (datetime64[s], when it opens, in UTC), open, high, low, close, volume (float64). Rows that could not be read
    have NaN in place of the number, for the table to reject. complete_to (aware, UTC) is the instant up to which the
    vendor has answered for every minute: one without a bar before it had no trade there, of later ones nothing is
    known. It lies before the start of the range where nothing of that is confirmed. told_since is the first instant
    this plan or vendor reaches back to, where that is within the range. fetched_at is by our clock, or by the vendor's
    where ours is more than a minute off; clock_offset is how many seconds the vendor's clock is ahead of ours. calls
    counts HTTP requests, those of a batch with its first instrument, from_bulk_files the bars that came from files.
    """

    symbol: str
    interval: int
    bars: "pd.DataFrame"
    source: str
    fetched_at: datetime
    calls: int
    complete_to: datetime
    told_since: datetime | None = None
    clock_offset: float = 0.0
    from_bulk_files: int = 0


@dataclass(frozen=True)
class IntradayAnswers:
    """Bars of several instruments: by our symbol an answer, or why there is none."""

    answers: Mapping[str, IntradayBars]
    failed: Mapping[str, ProviderError]


@dataclass(frozen=True)
class Answers:
    """One vendor's answer for many instruments, whichever number of requests it took.

    rows has the columns that `frames` declares for its kind, symbols in our spelling: of quotes at most one row per
    instrument, of markets and fundamentals one, of news each address once and the newest first. failed says, by our
    symbol, why an instrument has no row: one instrument's failure leaves the others unharmed. source is the provider's
    name, fetched_at in UTC, calls the HTTP requests made.
    """

    rows: "pd.DataFrame"
    failed: Mapping[str, ProviderError]
    source: str
    fetched_at: datetime
    calls: int
