"""What became of every session: the arithmetic of the ledger.

Belongs here: pure functions from facts to the state of each session. Does not belong here: where the facts are kept
(storage). Imports numpy, so it is itself imported only where sessions are counted.

The sessions of a month are the bits of one integer, day d being bit d - 1, so that a million sessions are some fifty
thousand integers and a set operation on all of them is one operation on an array.
"""

from dataclasses import dataclass, fields
from datetime import date

import numpy as np
from numpy.typing import NDArray

type Masks = NDArray[np.int32]
type Days = NDArray[np.datetime64]

WHOLE_MONTH = np.int32(2**31 - 1)
"""Every day there can be in a month."""


@dataclass(frozen=True)
class Months:
    """Consecutive months, `count` of them from the one that begins on `first`."""

    first: date
    count: int

    @classmethod
    def spanning(cls, first: date, last: date) -> "Months":
        """The months from that of `first` to that of `last`; none when `last` lies in an earlier one."""
        count = (last.year - first.year) * 12 + last.month - first.month + 1
        return cls(first.replace(day=1), max(count, 0))

    @property
    def starts(self) -> Days:
        """The first day of each, datetime64[D]."""
        return (np.datetime64(self.first, "M") + np.arange(self.count)).astype("datetime64[D]")

    @property
    def last(self) -> date:
        """The last day of the last month."""
        found: date = ((np.datetime64(self.first, "M") + self.count).astype("datetime64[D]") - 1).item()
        return found

    def slice_of(self, first: date, last: date) -> slice:
        """Where the months from that of `first` to that of `last` stand among these."""
        begin = (first.year - self.first.year) * 12 + first.month - self.first.month
        end = (last.year - self.first.year) * 12 + last.month - self.first.month + 1
        return slice(max(begin, 0), max(end, 0))


def masks_of(dates: Days, months: Months, rows: NDArray[np.intp] | None = None, count: int = 1) -> Masks:
    """Dates (datetime64[D], all within `months`) as masks of shape (count, months); rows says whose each date is."""
    days = dates.astype("datetime64[D]")
    month = days.astype("datetime64[M]")
    column = (month - np.datetime64(months.first, "M")).astype(np.intp)
    bit = np.int32(1) << (days - month.astype("datetime64[D]")).astype(np.int32)
    masks = np.zeros(count * months.count, np.int32)
    np.bitwise_or.at(masks, column if rows is None else rows * months.count + column, bit)
    return masks.reshape(count, months.count)


def mask_row(dates: Days, months: Months) -> Masks:
    """Dates of one instrument, all within `months`, as masks of shape (months,)."""
    return masks_of(dates, months).reshape(months.count)


def days_of(month: np.datetime64, mask: int) -> Days:
    """The dates that `mask` stands for in the month that begins on `month`, in order."""
    bits = np.arange(31)
    return np.asarray(month.astype("datetime64[D]") + bits[(mask >> bits) & 1 == 1])


def window_masks(start: date, end: date, months: Months) -> Masks:
    """The days from `start` to `end`, both included, as masks of shape (months,)."""
    first, last = max(start, months.first), min(end, months.last)
    if first > last:
        return np.zeros(months.count, np.int32)
    return mask_row(np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1), months)


@dataclass(frozen=True)
class Facts:
    """What is known of instruments and months, each of shape (instruments, months).

    expected: sessions that have finished. stored: rows of the table. empty: sessions the vendor confirms to have
    nothing for. deferred and dead: days covered by work that was put off, or that waits as a dead letter.
    """

    expected: Masks
    stored: Masks
    empty: Masks
    deferred: Masks
    dead: Masks


@dataclass(frozen=True)
class States:
    """Every expected session in exactly one state, each of shape (instruments, months)."""

    expected: Masks
    stored: Masks
    empty: Masks
    deferred: Masks
    dead_lettered: Masks
    gap: Masks


def settle(facts: Facts) -> States:
    """The state of every expected session, by the first that applies.

    It is stored, or confirmed to be empty, or put off, or failed; else it is a gap.
    """
    left = facts.expected.copy()
    taken = []
    for fact in (facts.stored, facts.empty, facts.deferred, facts.dead):
        taken.append(left & fact)
        left &= ~fact
    stored, empty, deferred, dead = taken
    return States(facts.expected, stored, empty, deferred, dead, left)


def counts(masks: Masks) -> NDArray[np.int32]:
    """How many sessions each mask stands for, in the same shape."""
    return np.bitwise_count(masks).astype(np.int32)


def sessions_by_state(states: States) -> dict[str, int]:
    """How many sessions there are in each state, `expected` being all of them."""
    return {state.name: int(counts(getattr(states, state.name)).sum()) for state in fields(states)}
