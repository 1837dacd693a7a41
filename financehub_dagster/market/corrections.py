"""What exchange_calendars does not know of an exchange: holidays, sessions and hours, from two CSV files.

Belongs here: reading `exchange_corrections.csv` of the package and the one of that name in FINANCEHUB_HOME. Does not
belong here: the sessions they make (`calendars`). Light: no numpy, no calendars.

Columns: mic, date, kind, opens, closes, note. kind is `holiday` (no session), `session` (a session with the exchange's
regular hours unless opens or closes say otherwise) or `early close` (closes is required). opens and closes are HH:MM in
the exchange's time zone. A line for an exchange whose calendar others keep holds for them too: XBOM's for XNSE.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.settings import get_settings

FILE = "exchange_corrections.csv"
COLUMNS = ("mic", "date", "kind", "opens", "closes", "note")
HOLIDAY, SESSION, EARLY_CLOSE = "holiday", "session", "early close"
_REQUIRED = ("mic", "date", "kind")


@dataclass(frozen=True, slots=True)
class Correction:
    """One day of one exchange; opens and closes in its local time, None where they are the regular ones."""

    mic: str
    day: date
    is_holiday: bool
    opens: time | None = None
    closes: time | None = None


@dataclass(frozen=True, eq=False)
class Corrections:
    """All corrections by MIC and day; problems name, in one line each, what of the files could not be used."""

    days: Mapping[str, Mapping[date, Correction]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def of(self, *mics: str) -> dict[date, Correction]:
        """The corrections of these exchanges together; where two name a day, the later exchange's holds."""
        return {day: each for mic in mics for day, each in self.days.get(mic, {}).items()}


def own_file() -> Path:
    """Where people write their corrections."""
    return get_settings().home / FILE


def corrections() -> Corrections:
    """Those of the package, and over them those of FINANCEHUB_HOME, read again when that file has changed."""
    path = own_file()
    try:
        state = path.stat()
    except OSError:
        return _read(None, 0, 0)
    return _read(path, state.st_mtime_ns, state.st_size)


@cache
def _packaged() -> Corrections:
    with as_file(files("financehub_dagster.market").joinpath(FILE)) as path:
        return _parsed(path)


@cache
def _read(path: Path | None, _changed: int, _size: int) -> Corrections:
    ours = _packaged()
    if path is None:
        return ours
    own = _parsed(path)
    days = {mic: {**ours.days.get(mic, {}), **own.days.get(mic, {})} for mic in {*ours.days, *own.days}}
    return Corrections(days, (*ours.problems, *own.problems))


def _parsed(path: Path) -> Corrections:
    """A line that cannot be used is a problem and leaves the others in force: one typo must not stop everybody."""
    days: dict[str, dict[date, Correction]] = {}
    problems: list[str] = []
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return Corrections(problems=(f"{path}: cannot be read: {error}",))
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    unknown, missing = set(header) - set(COLUMNS), [name for name in _REQUIRED if name not in header]
    if unknown or missing:
        return Corrections(problems=(f"{path}: line 1: the columns are {','.join(COLUMNS)}",))
    for number, fields in _rows(header, lines):
        try:
            found = _correction(fields)
        except ValueError as error:
            problems.append(f"{path}: line {number}: {error}")
        else:
            days.setdefault(found.mic, {})[found.day] = found
    return Corrections(days, tuple(problems))


def _rows(header: list[str], lines: list[list[str]]) -> Iterator[tuple[int, dict[str, str]]]:
    for number, cells in enumerate(lines[1:], start=2):
        if any(cell.strip() for cell in cells) and not cells[0].startswith("#"):
            padded = [*map(str.strip, cells), *[""] * len(header)]
            yield number, dict(zip(header, padded, strict=False))


def _correction(fields: Mapping[str, str]) -> Correction:
    mic, kind = fields["mic"].upper(), fields["kind"].lower().replace("_", " ")
    if mic not in exchanges():
        raise ValueError(f"{fields['mic']!r} is not a known market identifier (MIC)")
    try:
        day = date.fromisoformat(fields["date"])
    except ValueError:
        raise ValueError(f"{fields['date']!r} is not a date such as 2027-01-26") from None
    if kind not in (HOLIDAY, SESSION, EARLY_CLOSE):
        raise ValueError(f"kind {fields['kind']!r} is not one of {HOLIDAY}, {SESSION}, {EARLY_CLOSE}")
    opens, closes = (_time(fields.get(name, ""), name) for name in ("opens", "closes"))
    if kind == EARLY_CLOSE and closes is None:
        raise ValueError("an early close needs its time in the column closes")
    if opens and closes and opens >= closes:
        raise ValueError(f"opens at {opens:%H:%M} and closes at {closes:%H:%M}: a session ends after it began")
    return Correction(mic, day, kind == HOLIDAY, opens, closes)


def _time(text: str, column: str) -> time | None:
    if not text:
        return None
    try:
        found = time.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise ValueError(f"{column} {text!r} is not a time such as 13:00")
    return found
