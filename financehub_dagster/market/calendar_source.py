"""The calendar of an exchange: what exchange_calendars knows, what is assumed after its end, and the corrections.

The week of currencies is ours: exchange_calendars' 24/5 ends each day at midnight UTC, while the market ends it at
17:00 New York.

Belongs here: making calendars. Does not belong here: questions about them (`calendars`), reading corrections
(`corrections`) and keeping what the library made (`calendar_cache`). exchange_calendars is imported where a calendar is
made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market import calendar_cache
from financehub_dagster.market.corrections import Correction, Corrections
from financehub_dagster.work_apart import done_apart

if TYPE_CHECKING:
    import pandas as pd

type Days = NDArray[np.datetime64]
type Instants = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions in order: dates (datetime64[D]), and opens and closes as instants in UTC (datetime64[s]).

    break_starts and break_ends (datetime64[s]) bound the lunch break, NaT for a session without one.
    """

    dates: Days
    opens: Instants
    closes: Instants
    break_starts: Instants
    break_ends: Instants

    def between(self, start: date, end: date) -> "Sessions":
        """The sessions from `start` to `end`, both included."""
        first = int(np.searchsorted(self.dates, np.datetime64(start, "D")))
        stop = int(np.searchsorted(self.dates, np.datetime64(end, "D"), side="right"))
        return Sessions(*(each[first:stop] for each in self._columns()))

    def with_others(self, others: "Sessions", without: Days) -> "Sessions":
        """These and `others`, in order; of these, the ones on the days `without` are left out."""
        kept = ~np.isin(self.dates, without)
        joined = [
            np.concatenate([own[kept], other]) for own, other in zip(self._columns(), others._columns(), strict=True)
        ]
        order = np.argsort(joined[0], kind="stable")
        return Sessions(*(each[order] for each in joined))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return tuple(self.arrays().values())


NO_SESSIONS = Sessions(*(np.array([], f"datetime64[{unit}]") for unit in ("D", "s", "s", "s", "s")))


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """Sessions to the end of a year; those after known_to are assumed. known_to is date.max where none ever are.

    Calendars compare by identity, so that what is made of one can be cached by it.
    """

    sessions: Sessions
    known_to: date


@dataclass(frozen=True, slots=True)
class _Hours:
    """The regular hours of an exchange in its time zone; opening and closing lie so many days after the session's date.

    pause bounds the lunch break, None where the exchange has none.
    """

    timezone: ZoneInfo
    opens: time
    closes: time
    opening_day: int = 0
    closing_day: int = 0
    pause: tuple[time, time] | None = None

    def sessions(self, days: Sequence[date], given: Sequence[Correction | None]) -> Sessions:
        """Sessions on these days; `given` names for each what differs from the regular hours."""
        opens = [
            self._utc(day, own.opens) if own and own.opens else self._utc(day, self.opens, self.opening_day)
            for day, own in zip(days, given, strict=True)
        ]
        closes = [
            self._utc(day, own.closes) if own and own.closes else self._utc(day, self.closes, self.closing_day)
            for day, own in zip(days, given, strict=True)
        ]
        pauses = [self._pause(*each) for each in zip(days, opens, closes, strict=True)]
        instants = (opens, closes, [first for first, _ in pauses], [last for _, last in pauses])
        return Sessions(np.array(days, "datetime64[D]"), *(np.array(each, "datetime64[s]") for each in instants))

    def _pause(self, day: date, opens: datetime, closes: datetime) -> tuple[datetime, datetime] | tuple[None, None]:
        """The lunch break, where the session lasts beyond both its ends."""
        if self.pause is None:
            return None, None
        first, last = (self._utc(day, at) for at in self.pause)
        return (first, last) if opens < first and last < closes else (None, None)

    def _utc(self, day: date, at: time, later: int = 0) -> datetime:
        local = datetime.combine(day + timedelta(days=later), at, self.timezone)
        return local.astimezone(UTC).replace(tzinfo=None)


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


@cache
def ended(of: Calendar, last: date) -> Calendar:
    """The sessions of `of` until `last`, after which there are none; the same object each time."""
    return Calendar(of.sessions.between(date.min, last), date.max if last <= of.known_to else of.known_to)


def _known_to(last: date, days: dict[date, Correction]) -> date:
    """The end of the last year in a row of which a correction names a holiday."""
    years = {day.year for day, each in days.items() if each.is_holiday}
    while last != date.max and (last + timedelta(days=1)).year in years:
        last = date((last + timedelta(days=1)).year, 12, 31)
    return last


def _bounds(name: str) -> tuple[date | None, date | None]:
    """The first and last day of which the library knows the sessions, None where it sets no bound."""
    import exchange_calendars

    probe = exchange_calendars.get_calendar(name, start="2025-01-02", end="2025-02-03")
    first, last = (None if bound is None else bound.date() for bound in (probe.bound_min(), probe.bound_max()))
    return first, last


CURRENCIES = "currencies"
"""The calendar of currency pairs: not one of the library's."""

_NEW_YORK_CLOSE = time(17)
"""When the trade date of currencies ends, in New York: the rollover of the spot market, on which vendors' daily bars
end. A session begins at the previous calendar day's close, so that Monday's begins on Sunday evening."""


@cache
def _load(name: str, first_year: int, last_year: int) -> _Library:
    if name == CURRENCIES:
        return _currency_week(first_year, last_year)
    kept = calendar_cache.stored(name, first_year, last_year)
    if kept is None and done_apart(keep, name, first_year, last_year):
        kept = calendar_cache.stored(name, first_year, last_year)
    arrays, facts = keep(name, first_year, last_year) if kept is None else kept
    pause = facts["pause"] and tuple(map(time.fromisoformat, facts["pause"]))
    opens, closes = time.fromisoformat(facts["opens"]), time.fromisoformat(facts["closes"])
    hours = _Hours(ZoneInfo(facts["timezone"]), opens, closes, facts["opening_day"], facts["closing_day"], pause)
    return _Library(Calendar(Sessions(**arrays), date.fromisoformat(facts["known_to"])), facts["weekmask"], hours)


def keep(name: str, first_year: int, last_year: int) -> tuple[calendar_cache.Arrays, dict[str, Any]]:
    """Make a calendar over these years for all processes, and return what is kept of it; loads 90 MB of libraries."""
    made = _made(name, first_year, last_year)
    calendar_cache.store(name, first_year, last_year, *made)
    return made


def _made(name: str, first_year: int, last_year: int) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What the library knows of an exchange, as arrays of its sessions and as JSON values."""
    import exchange_calendars

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
        made.sessions.to_numpy().astype("datetime64[D]"),
        *map(_instants, (made.opens, made.closes, made.break_starts, made.break_ends)),
    )
    pause = [times[-1][1] for times in (made.break_start_times, made.break_end_times) if times]
    return sessions.arrays(), {
        "known_to": (last or date.max).isoformat(),
        "weekmask": made.weekmask,
        "timezone": str(made.tz),
        "opens": made.open_times[-1][1].isoformat(),
        "closes": made.close_times[-1][1].isoformat(),
        "opening_day": made.open_offset,
        "closing_day": made.close_offset,
        # Where there is none any more, as in Korea since 2000, the last times are None.
        "pause": [each.isoformat() for each in pause] if pause and all(pause) else None,
    }


def _currency_week(first_year: int, last_year: int) -> _Library:
    """Monday to Friday without holidays: on 25 December and 1 January little is traded, but nothing is closed."""
    hours = _Hours(ZoneInfo("America/New_York"), _NEW_YORK_CLOSE, _NEW_YORK_CLOSE, opening_day=-1)
    weekmask = "1111100"
    days = np.arange(date(first_year, 1, 1), date(last_year + 1, 1, 1), dtype="datetime64[D]")
    weekdays = days[np.is_busday(days, weekmask=weekmask)].tolist()
    return _Library(Calendar(hours.sessions(weekdays, [None] * len(weekdays)), date.max), weekmask, hours)


def _instants(times: "pd.Series[pd.Timestamp]") -> Instants:
    found: Instants = times.dt.tz_convert(UTC).dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    return found
