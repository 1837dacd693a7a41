"""Weeks of the journal: from Saturday to Friday, named like the ISO week that the Friday is in.

Belongs here: a week's days and names. Does not belong here: when a journal is written (automation).

The last exchange of a week closes on Friday, and by then a crypto has had its sessions since Saturday. A week that ends
there values everything at the end of one day, is complete on Saturday, and leaves no session to no week.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_NAME = re.compile(r"(\d{4})-?W(\d{1,2})", re.ASCII | re.IGNORECASE)
_FRIDAY = 5
FIRST_YEAR = 1900
"""Before the history of any vendor."""


class WeekError(Exception):
    """There is no such week; the message says how weeks are written."""


@dataclass(frozen=True, slots=True, order=True)
class Week:
    """Seven days that end on a Friday."""

    end: date

    @property
    def start(self) -> date:
        """The Saturday."""
        return self.end - timedelta(days=6)

    @property
    def before(self) -> date:
        """The Friday at whose close the week begins."""
        return self.end - timedelta(days=7)

    @property
    def complete_at(self) -> datetime:
        """When the last day ends, in UTC."""
        return datetime(self.end.year, self.end.month, self.end.day, tzinfo=UTC) + timedelta(days=1)

    def __contains__(self, day: date) -> bool:
        return self.before < day <= self.end

    def __str__(self) -> str:
        """`2026-W48`."""
        year, number, _ = self.end.isocalendar()
        return f"{year}-W{number:02}"


def named(text: str) -> Week:
    """The week of a name such as 2026-W48; raises WeekError."""
    found = _NAME.fullmatch(text.strip())
    try:
        if found is None or int(found[1]) < FIRST_YEAR:
            raise ValueError
        return Week(date.fromisocalendar(int(found[1]), int(found[2]), _FRIDAY))
    except ValueError:
        raise WeekError(f"week {text}: write an ISO week as 2026-W48") from None


def last_complete(now: datetime) -> Week:
    """The newest week that had ended at `now` (aware)."""
    today = now.astimezone(UTC).date()
    return Week(today - timedelta(days=(today.isoweekday() - _FRIDAY - 1) % 7 + 1))
