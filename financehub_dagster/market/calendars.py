"""Sessions: on which days an instrument is traded, and when each session opens and closes.

Belongs here: questions of time that exchange_calendars answers. Does not belong here: which exchanges exist
(`exchanges`), what the library does not know (`corrections`), what is stored or missing (storage). Imports numpy, and
exchange_calendars with pandas where a calendar is not kept yet: import this module only where sessions are needed.

A session is named by its date in the exchange's time zone; cryptos have one session a UTC day. A session of currencies
ends at 17:00 New York of its date and begins at 17:00 of the day before: Monday's on Sunday evening. Where the
library's knowledge of an exchange begins later than asked, earlier days count as none. Beyond its end, sessions are
known for years of which a correction names a holiday, and unknown after that. `schedule` then raises, because expecting
nothing would hide what is missing. `known` leaves unknown sessions out and `problems` reports them, so that one
instrument never stops the others. `is_open` and `session_close` assume the regular hours on every weekday. Lunch
breaks count as part of the session here; `trading_hours` leaves them out. A delisted instrument has no session after
its last day.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market import calendar_source, corrections
from financehub_dagster.market.calendar_source import Calendar, Days, Sessions
from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument

EARLY = timedelta(days=60)
"""How long before a calendar ends that is reported: time to upgrade the library or to list the next year's holidays."""

_FIRST_YEAR = 1990
"""Calendars are loaded from here on, so that all questions of a process share one; earlier ones load by decade."""


class SessionsUnknown(ValueError):
    """The sessions of an instrument are not known, or not so far; the message is one line that says why."""


type Market = tuple[str, bool, date | None]
"""What sessions depend on: the exchange, whether the instrument is a currency pair, and its last day if delisted."""


def market_of(of: Instrument | str) -> Market:
    """The market whose sessions an instrument or MIC has: instruments of one market can be examined together."""
    if isinstance(of, str):
        return of, False, None
    return of.exchange, of.asset_type is AssetType.FX, of.delisted_on


def numbers_by_market(instruments: Sequence[Instrument]) -> dict[Market, list[int]]:
    """The places among `instruments` of those of each market."""
    found: dict[Market, list[int]] = {}
    for number, each in enumerate(instruments):
        found.setdefault(market_of(each), []).append(number)
    return found


def once_a_market[T](instruments: Sequence[Instrument], find: Callable[[Instrument], T]) -> list[T]:
    """What `find` says of each of `instruments`, asked once for all of a market."""
    found = {market: find(instruments[first]) for market, (first, *_) in numbers_by_market(instruments).items()}
    return [found[market_of(each)] for each in instruments]


def schedule(of: Instrument | str, start: date, end: date, *, assume: bool = False) -> Sessions:
    """The sessions of an instrument or MIC from `start` to `end`, both included.

    Raises SessionsUnknown for a MIC that the register of exchanges lacks, and for days beyond its calendar. assume:
    take every weekday beyond its end for a session with the regular hours, instead of raising.
    """
    calendar = _calendar(of, start, end)
    if end > calendar.known_to and not assume:
        raise SessionsUnknown(f"{_name(of)}: {_ending(of, calendar.known_to)}")
    return calendar.sessions.between(start, end)


def known(of: Instrument | str, start: date, end: date) -> Sessions:
    """The sessions from `start` to `end`, both included, as far as they are known; raises nothing."""
    try:
        calendar = _calendar(of, start, end)
    except SessionsUnknown:
        return calendar_source.NO_SESSIONS
    return calendar.sessions.between(start, min(end, calendar.known_to))


def whole(of: Instrument | str, last: date) -> Calendar | None:
    """All sessions from 1990 to at least the end of the year of `last`, assumed ones included; None where unknown.

    The same object each time, until a correction changes.
    """
    try:
        return _calendar(of, last, last)
    except SessionsUnknown:
        return None


def known_to(of: Instrument | str) -> date:
    """The last day whose sessions are known: date.max where the calendar has no end, date.min where none are known."""
    today = datetime.now(UTC).date()
    try:
        return _calendar(of, today, today).known_to
    except SessionsUnknown:
        return date.min


@dataclass(frozen=True, slots=True)
class Problem:
    """Why sessions of these symbols are unknown, or soon will be, in one line that says what to do.

    symbols is empty where the problem is a line of a file of corrections.
    """

    symbols: tuple[str, ...]
    message: str


def problems(instruments: Iterable[Instrument], now: datetime) -> list[Problem]:
    """What is unknown of the sessions of `instruments` up to EARLY after `now` (aware); one problem per calendar."""
    by_message: dict[str, list[str]] = {}
    for instrument in instruments:
        message = _problem(instrument, now)
        if message is not None:
            by_message.setdefault(message, []).append(instrument.symbol)
    unread = [Problem((), message) for message in corrections.corrections().problems]
    return [Problem(tuple(symbols), message) for message, symbols in by_message.items()] + unread


def last_finished_session(of: Instrument | str, now: datetime) -> date | None:
    """The date of the newest known session that had closed at `now` (aware); None where there is none."""
    moment = instant(now)
    past = known(of, date(_FIRST_YEAR, 1, 1), now.date())
    closed = int(np.searchsorted(past.closes, moment, side="right"))
    found: date | None = past.dates[closed - 1].item() if closed else None
    return found


def finished(of: Instrument | str, dates: Days, now: datetime) -> NDArray[np.bool_]:
    """Whether each date's session had closed at `now` (aware); a date without a known one ends with its UTC day."""
    return np.asarray(closes(of, dates) <= instant(now))


def closes(of: Instrument | str, dates: Days) -> NDArray[np.datetime64]:
    """When each date's session closes, in UTC (datetime64[s]); a date without a known one ends with its UTC day."""
    days = np.asarray(dates, dtype="datetime64[D]")
    ends = (days + 1).astype("datetime64[s]")
    if not days.size:
        return ends
    around = known(of, days.min().item(), days.max().item())
    if around.dates.size:
        place = np.searchsorted(around.dates, days).clip(max=around.dates.size - 1)
        ends = np.where(around.dates[place] == days, around.closes[place], ends)
    return ends


def session_close(of: Instrument | str, day: date) -> datetime:
    """When the session of that date closes, in UTC; raises ValueError where there is no session."""
    found = schedule(of, day, day, assume=True)
    if not found.dates.size:
        raise ValueError(f"{_name(of)} has no session on {day}")
    close: datetime = found.closes[0].item()
    return close.replace(tzinfo=UTC)


def is_open(of: Instrument | str, now: datetime) -> bool:
    """Whether a session is under way at `now` (aware); False where the exchange is unknown."""
    moment = instant(now)
    try:
        calendar = _calendar(of, now.date(), now.date())
    except SessionsUnknown:
        return False
    opened = int(np.searchsorted(calendar.sessions.opens, moment, side="right"))
    return opened > 0 and bool(calendar.sessions.closes[opened - 1] > moment)


def without(expected: Days, stored: Days | None) -> Days:
    """The expected session dates that are not among the stored ones, in order."""
    return expected if stored is None else np.setdiff1d(expected, np.asarray(stored, dtype="datetime64[D]"))


def _name(of: Instrument | str) -> str:
    return of if isinstance(of, str) else of.symbol


def instant(moment: datetime) -> np.datetime64:
    """An aware datetime as datetime64[s] in UTC, the form of all instants here; ValueError without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: give an aware datetime")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "s")


def _problem(instrument: Instrument, now: datetime) -> str | None:
    try:
        end = _calendar(instrument, now.date(), now.date()).known_to
    except SessionsUnknown as error:
        return str(error).removeprefix(f"{instrument.symbol}: ")
    return _ending(instrument, end) if end != date.max and now.date() > end - EARLY else None


def _ending(of: Instrument | str, end: date) -> str:
    _, name = _exchange(of)
    remedy = f"upgrade exchange-calendars, or list the holidays of {end.year + 1} in {corrections.own_file()}"
    return f"the sessions of {name} are known to {end} only: {remedy}"


def _calendar(of: Instrument | str, start: date, end: date) -> Calendar:
    mic, name = _exchange(of)
    first_year = min(start.year // 10 * 10, _FIRST_YEAR)
    last_year = max(end.year, datetime.now(UTC).year + 1)
    try:
        found = calendar_source.calendar(mic, name, first_year, last_year, corrections.corrections())
    except (NotImplementedError, ValueError, LookupError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SessionsUnknown(f"{_name(of)}: the calendar of {name} does not load: {reason}") from None
    last = None if isinstance(of, str) else of.delisted_on
    return found if last is None else calendar_source.ended(found, last)


def _exchange(of: Instrument | str) -> tuple[str, str]:
    """The MIC, and the name of the calendar it keeps."""
    mic = of if isinstance(of, str) else of.exchange
    if isinstance(of, Instrument) and of.asset_type is AssetType.FX:
        return mic, calendar_source.CURRENCIES
    if mic not in exchanges():
        raise SessionsUnknown(f"{_name(of)}: no sessions are known for exchange {mic!r}: use its ISO 10383 code")
    return mic, exchanges()[mic].calendar
