"""When markets are open: the sessions of an exchange, every UTC day for cryptos, New York's days for currencies.

Belongs here: session dates with their opening and closing instants. Does not belong here: prices. Imports
exchange_calendars and NumPy: only the sandbox server imports this module. Beyond the end of a calendar every weekday is
a session.
"""

from dataclasses import dataclass
from datetime import date, time
from functools import cache

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.exchanges import NO_MARKET, exchanges
from financehub_dagster.market.instruments import AssetType, Instrument

_FIRST_DAY = date(2009, 1, 1)
_LAST_DAY = date(2035, 12, 31)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions in order: date as datetime64[D], opens and closes as int64 UTC epoch seconds (closes excluded)."""

    date: NDArray[np.datetime64]
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]


@cache
def sessions_of(exchange: str) -> Sessions:
    """All sessions of a market identifier code from 2009 to 2035; raises ValueError for an unknown exchange."""
    return _sessions(exchange)


def is_open(exchange: str, now: float) -> bool:
    """Whether a session of the exchange runs at `now`, UTC epoch seconds."""
    sessions = sessions_of(exchange)
    return bool(sessions.opens[np.searchsorted(sessions.closes, now, side="right")] <= now)


@cache
def currency_sessions() -> Sessions:
    """Monday to Friday; a session begins at 17:00 in New York on the day before, Monday's on Sunday."""
    return _sessions(Instrument("EURUSD", "Euro / US Dollar", AssetType.FX, NO_MARKET))


@cache
def breaks_of(exchange: str) -> tuple[tuple[time, time], ...]:
    """The lunch breaks of an exchange by its clock on the wall."""
    import exchange_calendars

    made = exchange_calendars.get_calendar(exchanges()[exchange].calendar, start="2025-01-06", end="2025-01-31")
    starts, ends = made.break_start_times, made.break_end_times
    if not starts or not ends or starts[-1][1] is None:  # Korea's calendar says so of its breaks, given up in 2000
        return ()
    return ((starts[-1][1], ends[-1][1]),)


def _sessions(of: Instrument | str) -> Sessions:
    from financehub_dagster.market import calendars

    found = calendars.schedule(of, _FIRST_DAY, _LAST_DAY, assume=True)
    return Sessions(found.dates, found.opens.astype(np.int64), found.closes.astype(np.int64))
