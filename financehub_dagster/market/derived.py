"""Tables that are computed from daily bars: what their functions take and return, and which rows the bars call for.

Belongs here: the shapes, and the arithmetic between the sessions of bars and the dates of the rows computed from them.
Does not belong here: the functions themselves (`indicators`), storage. Imports numpy, so it is itself imported only
where rows are computed or counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

type Days = NDArray[np.datetime64]
type Flags = NDArray[np.bool_]
type Period = Literal["session", "week", "next session"]
"""What one computed row is about: the session of its date; the week that begins on its date, a Monday; or the session
of its date, made of the session before it, which its column `session` names."""

REACH = {"session": timedelta(), "week": timedelta(days=6), "next session": timedelta()}
"""How far after the date of a row the sessions lie that it is computed from."""


@dataclass(frozen=True)
class DerivedRows:
    """Computed rows in any order, all arrays of one length: the number of the instrument, the date, and each column."""

    instruments: NDArray[np.intp]
    date: Days
    values: Mapping[str, NDArray[np.generic]]


def period_starts(period: Period, days: Days) -> Days:
    """The date of the row that the session of each of `days` (datetime64[D]) belongs to."""
    if period == "session":
        return days
    # 1970-01-01 was a Thursday: Mondays are the days whose number plus three is divisible by seven.
    return np.asarray(days - (days.astype("datetime64[D]").astype(np.int64) + 3) % 7)


def period_start(period: Period, day: date) -> date:
    """The date of the row that the session of `day` belongs to, or one before it."""
    return day - timedelta(days=day.weekday()) if period == "week" else day


def first_period(period: Period, start: date) -> date:
    """The first date at or after `start` on which a period begins."""
    begun = period_start(period, start)
    return begun if begun >= start else begun + REACH[period] + timedelta(days=1)


def axis_of(period: Period, sessions: Days) -> Days:
    """The dates of the rows that sorted `sessions` belong to, each once."""
    return sessions if period == "session" else np.unique(period_starts(period, sessions))


def expected_rows(period: Period, sessions: Days, stored: Flags) -> Flags:
    """Which rows the stored bars call for: from shape (instruments, sessions) to (instruments, rows of the axis).

    A period that begins in the month before the first session has no partition, and its bars are not all known.
    """
    if period == "session" or not sessions.size:
        return stored
    starts = period_starts(period, sessions)
    first = np.flatnonzero(np.r_[True, starts[1:] != starts[:-1]])
    begun = starts[first].astype("datetime64[M]") >= sessions[0].astype("datetime64[M]")
    return np.asarray(np.logical_or.reduceat(stored, first, axis=1) & begun)
