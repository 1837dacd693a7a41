"""The calendar of an exchange: what exchange_calendars knows, what is assumed after its end, and the corrections.

Belongs here: making calendars. Does not belong here: questions about them (`calendars`) and reading corrections
(`corrections`). Imports exchange_calendars and pandas, which takes a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.corrections import Correction, Corrections

if TYPE_CHECKING:
    import pandas as pd

type Days = NDArray[np.datetime64]
type Instants = NDArray[np.datetime64]


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

    def with_others(self, others: "Sessions", without: Days) -> "Sessions":
        """These and `others`, in order; of these, the ones on the days `without` are left out."""
        kept = ~np.isin(self.dates, without)
        dates = np.concatenate([self.dates[kept], others.dates])
        order = np.argsort(dates, kind="stable")
        opens, closes = (
            np.concatenate([own[kept], other])[order]
            for own, other in ((self.opens, others.opens), (self.closes, others.closes))
        )
        return Sessions(dates[order], opens, closes)


NO_SESSIONS = Sessions(*(np.array([], f"datetime64[{unit}]") for unit in ("D", "s", "s")))


@dataclass(frozen=True, slots=True)
class Calendar:
    """Sessions to the end of a year; those after known_to are assumed. known_to is date.max where none ever are."""

    sessions: Sessions
    known_to: date


@dataclass(frozen=True, slots=True)
class _Hours:
    """The regular hours of an exchange in its time zone, the closing one `days` after the session's date."""

    timezone: ZoneInfo
    opens: time
    closes: time
    days: int

    def sessions(self, days: Sequence[date], given: Sequence[Correction | None]) -> Sessions:
        """Sessions on these days; `given` names for each what differs from the regular hours."""
        opens = [self._utc(day, (own and own.opens) or self.opens) for day, own in zip(days, given, strict=True)]
        closes = [
            self._utc(day, own.closes)
            if own and own.closes
            else self._utc(day + timedelta(days=self.days), self.closes)
            for day, own in zip(days, given, strict=True)
        ]
        return Sessions(np.array(days, "datetime64[D]"), *(np.array(each, "datetime64[s]") for each in (opens, closes)))

    def _utc(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, self.timezone).astimezone(UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class _Library:
    """What exchange_calendars knows of an exchange; weekmask as numpy takes it."""

    calendar: Calendar
    weekmask: str
    hours: _Hours


@cache
def calendar(mic: str, name: str, first_year: int, last_year: int, found: Corrections) -> Calendar:
    """The calendar `name` of exchange_calendars as the exchange `mic` keeps it, over these years.

    Raises what the library raises where it cannot make the calendar.
    """
    library = _load(name, first_year, last_year)
    sessions, known_to = library.calendar.sessions, library.calendar.known_to
    days = found.of(name, mic)
    if known_to != date.max:
        assumed = np.arange(known_to + timedelta(days=1), date(last_year + 1, 1, 1), dtype="datetime64[D]")
        regular = assumed[np.is_busday(assumed, weekmask=library.weekmask)].tolist()
        sessions = sessions.with_others(library.hours.sessions(regular, [None] * len(regular)), NO_SESSIONS.dates)
    if days:
        traded = [day for day, each in days.items() if not each.is_holiday and first_year <= day.year <= last_year]
        others = library.hours.sessions(traded, [days[day] for day in traded])
        sessions = sessions.with_others(others, np.array(list(days), "datetime64[D]"))
    return Calendar(sessions, _known_to(known_to, days))


def _known_to(last: date, days: dict[date, Correction]) -> date:
    """The end of the last year in a row of which a correction names a holiday."""
    years = {day.year for day, each in days.items() if each.is_holiday}
    while last != date.max and (last + timedelta(days=1)).year in years:
        last = date((last + timedelta(days=1)).year, 12, 31)
    return last


@cache
def _bounds(name: str) -> tuple[date | None, date | None]:
    """The first and last day of which the library knows the sessions, None where it sets no bound."""
    probe = exchange_calendars.get_calendar(name, start="2025-01-02", end="2025-02-03")
    first, last = (None if bound is None else bound.date() for bound in (probe.bound_min(), probe.bound_max()))
    return first, last


@cache
def _load(name: str, first_year: int, last_year: int) -> _Library:
    start, end = date(first_year, 1, 1), date(last_year, 12, 31)
    try:
        made = exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
        last = None if made.bound_max() is None else made.bound_max().date()
    except ValueError:
        # Few calendars have bounds, and asking for them first makes every calendar twice.
        first, last = _bounds(name)
        start, end = max(first or date.min, start), min(last or date.max, end)
        made = exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
    sessions = Sessions(
        dates=made.sessions.to_numpy().astype("datetime64[D]"),
        opens=_instants(made.opens),
        closes=_instants(made.closes),
    )
    hours = _Hours(ZoneInfo(str(made.tz)), made.open_times[-1][1], made.close_times[-1][1], made.close_offset)
    return _Library(Calendar(sessions, last or date.max), made.weekmask, hours)


def _instants(times: "pd.Series[pd.Timestamp]") -> Instants:
    found: Instants = times.dt.tz_convert(UTC).dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    return found
