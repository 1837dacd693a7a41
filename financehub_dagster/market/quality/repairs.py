"""What doubtful bars most likely were: the repairs that have one right answer, applied to whole histories for reading.

Belongs here: the arithmetic of each repair. Does not belong here: finding the bars (`doubts`), and storing: tables keep
what vendors sent. Imports numpy: import it inside functions.

Repaired are prices in another unit that come back to it, splits that were not applied or applied twice, payments that
were not taken out or taken out twice, and ranges that open or close lies outside of. Spikes, repeated bars and
payments of an unknown amount have no one right answer and stay as they are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.quality import doubts
from financehub_dagster.market.quality.doubts import UNIT_BARS, UNIT_ROOM, UNITS
from financehub_dagster.market.quality.series_arrays import PRICES, Floats, Mask, Series

RULES = frozenset(
    {
        "unit_100x",
        "split_not_applied",
        "split_applied_twice",
        "dividend_not_adjusted",
        "dividend_adjusted_twice",
        "outside_range",
    }
)
"""The flags of the bars that are repaired."""
_SCALED = (*PRICES, "adj_close")


@dataclass(frozen=True)
class Repaired:
    """The columns of a series after repair, by name, in its order, and which bars were changed."""

    columns: dict[str, Floats]
    changed: Mask


def repair(series: Series, bits: NDArray[np.uint32]) -> Repaired:
    """Repair whole histories, whose `bits` say which rules each bar breaks (`doubts.judge`)."""
    columns = {name: getattr(series, name).copy() for name in (*_SCALED, "volume")}
    flagged = {name: np.flatnonzero(bits >> place & 1) for place, name in enumerate(doubts.NAMES)}
    _units(series, columns, bits, flagged["unit_100x"])
    _splits(series, columns, np.union1d(flagged["split_not_applied"], flagged["split_applied_twice"]))
    _payments(series, columns, np.union1d(flagged["dividend_not_adjusted"], flagged["dividend_adjusted_twice"]))
    outside = flagged["outside_range"]
    reached = np.stack([columns[name][outside] for name in PRICES])
    columns["high"][outside], columns["low"][outside] = reached.max(axis=0), reached.min(axis=0)
    changed = np.zeros(len(series), np.bool_)
    for name, values in columns.items():
        before = getattr(series, name)
        changed |= (values != before) & ~(np.isnan(values) & np.isnan(before))
    return Repaired(columns, changed)


def _units(series: Series, columns: dict[str, Floats], bits: NDArray[np.uint32], rows: NDArray[np.intp]) -> None:
    """Bring bars to the unit of those around them, where these have one."""
    flag = np.uint32(1 << doubts.NAMES.index("unit_100x"))
    for row in rows:
        own = np.arange(max(row - UNIT_BARS, series.start[row]), min(row + UNIT_BARS + 1, len(series)))
        own = own[(series.code[own] == series.code[row]) & (bits[own] & flag == 0)]
        before, after = own[own < row], own[own > row]
        if not len(before) or not len(after):
            continue
        for name in _SCALED if _in_other_unit(series, row, before[-1], after[0]) else ("high", "low"):
            size = np.log(columns[name][row]) - (series.log_close[before[-1]] + series.log_close[after[0]]) / 2
            unit = next((unit for unit in UNITS if abs(abs(size) - np.log(unit)) <= 2 * UNIT_ROOM), 1.0)
            columns[name][row] *= unit ** -np.sign(size)


def _in_other_unit(series: Series, row: int, before: int, after: int) -> bool:
    """Is it the close that is in another unit than those around it, and are these in one?"""
    around = abs(series.log_close[before] - series.log_close[after])
    return bool(around <= 2 * UNIT_ROOM < abs(series.log_close[row] - series.log_close[before]))


def _splits(series: Series, columns: dict[str, Floats], rows: NDArray[np.intp]) -> None:
    """Scale what is on the other basis: the bars until the price steps back, else all before the step."""
    done: set[int] = set()
    for row in rows:
        near = [(abs(at - row), ratio) for at, ratio in series.splits if series.code[at] == series.code[row]]
        if not near or row in done:
            continue
        size = np.log(min(near)[1])
        by = float(np.exp(np.sign(series.step[row]) * abs(size)))
        ahead = np.arange(row + 1, min(row + UNIT_BARS + 1, len(series)))
        back = ahead[(series.code[ahead] == series.code[row]) & (np.abs(series.step[ahead] + series.step[row]) < 0.1)]
        scaled = slice(row, int(back[0])) if len(back) else slice(int(series.start[row]), row)
        if len(back):
            done.add(int(back[0]))
            by = 1 / by
        for name in _SCALED:
            columns[name][scaled] *= by
        columns["volume"][scaled] /= by


def _payments(series: Series, columns: dict[str, Floats], rows: NDArray[np.intp]) -> None:
    """Take each payment out of the adjusted closes before it, once; one of the whole price or more leaves no price."""
    found = series.payments
    for number in np.flatnonzero(np.isin(found.rows, rows)):
        row, paid, gained, taken = (each[number] for each in (found.rows, found.paid, found.gained, found.taken))
        told_twice = abs(taken - paid) <= 0.1 * paid and not gained
        # A dividend that includes the gain of the day is all that was paid.
        wanted = 0.0 if told_twice else paid if gained and paid >= gained else paid + gained
        if wanted >= 1:
            continue
        earlier = slice(int(series.start[row]), int(row))
        columns["adj_close"][earlier] *= (1 - wanted) / (1 - taken)
