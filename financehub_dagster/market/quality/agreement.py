"""Do prices that one vendor tells belong to the series that is stored from others?

Belongs here: comparing closes, with the room that markets and splits need. Does not belong here: reading what is
stored, and what becomes of prices that do not belong (ingest.agreement).
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import isfinite, prod
from statistics import median

SAME_SESSION = 1.05
"""How far two vendors' closes of one session may lie apart, as a factor: closing auction or last trade."""
DRIFT = ((timedelta(days=10), 1.5), (timedelta(days=100), 2.5), (timedelta(days=400), 5.0))
"""How far a price may have moved within so many days; after the last of them nothing can be told."""
SPLITS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50)
"""Splits as companies make them, either way. Not 100, by which pounds and pence, dollars and cents differ."""
BY_SPLIT, ALIKE = 1.02, 1.01
"""How near to a split the factor of closes of one session must be, and how near to each other those of all sessions."""
BESIDE_SPLIT = 1.08
"""How near to a split the factor of closes of neighbouring sessions must be."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two closes that are not of one series: what is told for `told_on`, what is stored for `stored_on`."""

    told: float
    told_on: date
    stored: float
    stored_on: date

    def __str__(self) -> str:
        """The difference in one line, with both numbers."""
        factor = self.told / self.stored
        return (
            f"tells a close of {self.told:.6g} for {self.told_on}, {factor:.4g} times the stored {self.stored:.6g} of"
            f" {self.stored_on}: another security, another unit or an unknown split"
        )


def difference(
    told: Mapping[date, float],
    stored: Mapping[date, float],
    known_splits: Collection[float] = (),
    *,
    volatile: bool = False,
) -> Difference | None:
    """What shows that `told` and `stored`, closes by session, are not of one series; None when nothing does.

    Sessions that both have must have the same close, or differ by one split; known_splits are factors that count as
    such beside the usual ones. Without a common session the two nearest closes are compared, with room for what a
    price moves in the time between; `volatile` (cryptos) gives twice as much, on a logarithmic scale.
    """
    told, stored = _prices(told), _prices(stored)
    if not told or not stored:
        return None
    splits = _either_way([*SPLITS, *known_splits, prod(known_splits)])
    common = told.keys() & stored.keys()
    if common:
        factors = {day: told[day] / stored[day] for day in common}
        middle = median(factors.values())
        alike = all(_within(factor / middle, ALIKE) for factor in factors.values())
        if _within(middle, SAME_SESSION) or (alike and any(_within(middle / split, BY_SPLIT) for split in splits)):
            return None
        day = max(common)
        return Difference(told[day], day, stored[day], day)
    told_on, stored_on = _nearest(sorted(told), stored)
    apart = abs(told_on - stored_on)
    room = next((factor for limit, factor in DRIFT if apart <= limit), None)
    factor = told[told_on] / stored[stored_on]
    if room is None or _within(factor, room**2 if volatile else room):
        return None
    if apart <= DRIFT[0][0] and any(_within(factor / split, BESIDE_SPLIT) for split in splits):
        return None
    return Difference(told[told_on], told_on, stored[stored_on], stored_on)


def _prices(closes: Mapping[date, float]) -> dict[date, float]:
    return {day: close for day, close in closes.items() if isfinite(close) and close > 0}


def _nearest(days: Sequence[date], others: Iterable[date]) -> tuple[date, date]:
    """The day of `days`, in order, and the one of `others` that are least apart."""

    def pairs() -> Iterator[tuple[date, date]]:
        for other in others:
            at = bisect_left(days, other)
            yield from ((day, other) for day in days[max(at - 1, 0) : at + 1])

    return min(pairs(), key=lambda pair: abs(pair[0] - pair[1]))


def _within(factor: float, room: float) -> bool:
    return 1 / room <= factor <= room


def _either_way(factors: Collection[float]) -> list[float]:
    return [made for factor in factors if factor > 0 for made in (factor, 1 / factor)]
