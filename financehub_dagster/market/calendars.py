"""Sessions: on which days an instrument is traded, and when each session opens and closes.

Belongs here: questions of time that exchange_calendars answers. Does not belong here: which exchanges exist
(`exchanges`), what is stored or missing (storage). Imports exchange_calendars and pandas, which takes a second: import
this module only where sessions are needed.

A session is named by its date in the exchange's time zone; cryptos have one session a UTC day, currencies one a UTC
weekday. Where the library's knowledge of an exchange begins later than asked, earlier days count as none; where it ends
earlier, asking raises CalendarEnds, because expecting nothing would hide what is missing.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING

import exchange_calendars
import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument

if TYPE_CHECKING:
    import pandas as pd

type Days = NDArray[np.datetime64]
type Instants = NDArray[np.datetime64]

_FIRST_YEAR = 1990
"""Calendars are loaded from here on, so that all questions of a process share one; earlier ones load by decade."""

_WEEKDAYS = "24/5"
"""The calendar of currencies."""


class UnknownExchange(ValueError):
    """No sessions are known for a market identifier code."""


class CalendarEnds(ValueError):
    """The installed exchange_calendars does not reach as far as was asked."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions in order: dates (datetime64[D]), and opens and closes as instants in UTC (datetime64[s])."""

    dates: Days
    opens: Instants
    closes: Instants

    def between(self, start: date, end: date) -> "Sessions":
        """The sessions from `start` to `end`, both included."""
        first = int(np.searchsorted(self.dates, np.datetime64(start, "D")))
        stop = int(np.searchsorted(self.dates, np.datetime64(end, "D"), side="right"))
        return Sessions(self.dates[first:stop], self.opens[first:stop], self.closes[first:stop])


def sessions(of: Instrument | str, start: date, end: date) -> Days:
    """The session dates (datetime64[D]) of an instrument or MIC from `start` to `end`, both included.

    Raises UnknownExchange for a MIC that the register of exchanges lacks, CalendarEnds for days beyond its calendar.
    """
    return schedule(of, start, end).dates


def schedule(of: Instrument | str, start: date, end: date) -> Sessions:
    """The sessions from `start` to `end`, both included, with their opening and closing instants."""
    return _known(of, start, end).between(start, end)


def last_finished_session(of: Instrument | str, now: datetime) -> date:
    """The date of the newest session that had closed at `now` (aware); raises ValueError before the first ever did."""
    known = _known(of, now.date(), now.date())
    closed = int(np.searchsorted(known.closes, _instant(now), side="right"))
    if not closed:
        raise ValueError(f"{_name(of)}: no session had closed by {now:%Y-%m-%d}")
    found: date = known.dates[closed - 1].item()
    return found


def finished(of: Instrument | str, dates: Days, now: datetime) -> NDArray[np.bool_]:
    """Whether each date's session had closed at `now` (aware); a date without one is finished with its UTC day."""
    days = np.asarray(dates, dtype="datetime64[D]")
    if not days.size:
        return np.zeros(0, dtype=bool)
    known = _known(of, days.min().item(), days.max().item())
    place = np.searchsorted(known.dates, days).clip(max=known.dates.size - 1)
    end_of_day = (days + 1).astype("datetime64[s]")
    closes = np.where(known.dates[place] == days, known.closes[place], end_of_day)
    return np.asarray(closes <= _instant(now))


def session_close(of: Instrument | str, day: date) -> datetime:
    """When the session of that date closes, in UTC; raises ValueError where there is no session."""
    found = schedule(of, day, day)
    if not found.dates.size:
        raise ValueError(f"{_name(of)} has no session on {day}")
    close: datetime = found.closes[0].item()
    return close.replace(tzinfo=UTC)


def is_open(of: Instrument | str, now: datetime) -> bool:
    """Whether a session is under way at `now` (aware)."""
    known = _known(of, now.date(), now.date())
    opened = int(np.searchsorted(known.opens, _instant(now), side="right"))
    return opened > 0 and bool(known.closes[opened - 1] > _instant(now))


def without(expected: Days, stored: Days | None) -> Days:
    """The expected session dates that are not among the stored ones, in order."""
    return expected if stored is None else np.setdiff1d(expected, np.asarray(stored, dtype="datetime64[D]"))


def _name(of: Instrument | str) -> str:
    return of if isinstance(of, str) else of.symbol


def _instant(moment: datetime) -> np.datetime64:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: give an aware datetime")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "s")


def _known(of: Instrument | str, start: date, end: date) -> Sessions:
    first_year = min(start.year // 10 * 10, _FIRST_YEAR)
    last_year = max(end.year, datetime.now(UTC).year + 1)
    name = _calendar_name(of)
    last = _bounds(name)[1]
    if last is not None and end > last:
        raise CalendarEnds(f"{_name(of)}: the sessions of {name} are known to {last} only: upgrade exchange-calendars")
    return _load(name, first_year, last_year)


def _calendar_name(of: Instrument | str) -> str:
    if isinstance(of, Instrument) and of.asset_type is AssetType.FX:
        return _WEEKDAYS
    mic = of if isinstance(of, str) else of.exchange
    if mic not in exchanges():
        raise UnknownExchange(f"{_name(of)}: no sessions are known for exchange {mic!r}: use its ISO 10383 code")
    return exchanges()[mic].calendar


@cache
def _bounds(name: str) -> tuple[date | None, date | None]:
    """The first and last day of which the library knows the sessions, None where it sets no bound."""
    probe = exchange_calendars.get_calendar(name, start="2025-01-02", end="2025-02-03")
    first, last = (None if bound is None else bound.date() for bound in (probe.bound_min(), probe.bound_max()))
    return first, last


@cache
def _load(name: str, first_year: int, last_year: int) -> Sessions:
    first, last = _bounds(name)
    start = max(first or date.min, date(first_year, 1, 1))
    end = min(last or date.max, date(last_year, 12, 31))
    calendar = exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
    return Sessions(
        dates=calendar.sessions.to_numpy().astype("datetime64[D]"),
        opens=_instants(calendar.opens),
        closes=_instants(calendar.closes),
    )


def _instants(times: "pd.Series[pd.Timestamp]") -> Instants:
    found: Instants = times.dt.tz_convert(UTC).dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    return found
