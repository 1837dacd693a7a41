"""Whether adjusted closes take out what was paid, once, and whether the price fell by it.

Belongs here: rules about the bar at an ex-date. Does not belong here: other rules (`doubts`), the arithmetic of
adjusting (`adjustments`). Imports numpy: import it inside functions.

The factor is adjusted close over close. From the bar before an ex-date to the bar at it the factor grows by
1 / (1 - cash / close before): the yield that is taken out is compared with the yield that was paid.
"""

import numpy as np

from financehub_dagster.market.quality.series_arrays import LEAST_YIELD, Floats, Mask, Payments, Rows, Series, pick

SAME = 0.1
"""How far two yields may differ, as a share of the larger one: vendors round payments, and divide by other closes."""
NONE_TAKEN = 0.004
"""Of a payment that is not taken out at most this share is: less than a hundredth."""
UNIT, UNIT_ROOM = 100.0, 1.3
"""The two units of a currency, and how far from 100 the ratio of two yields may be."""
UNEXPLAINED = 2e-3
"""The yield from which on an adjustment without a payment is doubtful."""
SHOWN, UNUSUAL = 0.25, 5.0
"""A price that does not show a payment falls by less than this share of it, and the rest is so large a multiple of the
spread."""
TOLD_TWICE_DAYS, TOLD_TWICE = 4, 0.25
"""Two payments within so many days that differ by at most this share are one, told twice. Few funds pay each week."""


def _alike(one: Floats, other: Floats) -> Mask:
    return np.asarray(np.abs(one - other) <= np.maximum(SAME * np.maximum(np.abs(one), np.abs(other)), LEAST_YIELD / 2))


def _sum(found: Payments) -> Floats:
    """What the factor should take out: vendors count a capital gain in the dividend of the day, or beside it."""
    both = found.paid + found.gained
    return np.where(_alike(found.taken, found.paid) & (found.paid > 0), found.paid, both)


def not_adjusted(series: Series) -> Rows:
    """Ex-dates whose payment is not taken out of the adjusted closes before."""
    found = series.payments
    return pick(found.rows, np.abs(found.taken) <= NONE_TAKEN * _sum(found))


def other_unit(series: Series) -> Rows:
    """Ex-dates at which the adjustment is about a hundredth of the payment, or a hundred times it."""
    found = series.payments
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(np.log(found.taken / _sum(found)))
    return pick(found.rows, np.abs(ratio - np.log(UNIT)) <= np.log(UNIT_ROOM))


def twice(series: Series) -> Rows:
    """Ex-dates whose payment is taken out twice: at once, as the same one on another day, or as gain and dividend."""
    found = series.payments
    wanted = _sum(found)
    doubled = _alike(found.taken, 1 - (1 - wanted) ** 2) | _alike(found.taken, 2 * wanted)
    return np.concatenate(
        [found.rows[doubled & ~_alike(found.taken, wanted)], _told_twice(series), _gain(series, found)]
    )


def _told_twice(series: Series) -> Rows:
    """Of two payments that are one, that by which the price fell less."""
    found = series.payments
    first, second = np.arange(len(found.rows) - 1), np.arange(1, len(found.rows))
    days = (series.date[found.rows[second]] - series.date[found.rows[first]]).astype(np.int64)
    same = (days <= TOLD_TWICE_DAYS) & (series.code[found.rows[second]] == series.code[found.rows[first]])
    ratio = np.abs(found.paid[second] - found.paid[first]) / np.maximum(found.paid[second], found.paid[first])
    same &= (ratio <= TOLD_TWICE) & _alike(found.taken, found.paid)[first] & _alike(found.taken, found.paid)[second]
    less = np.where(found.fell[second] / found.paid[second] < found.fell[first] / found.paid[first], second, first)
    paid_before: Rows = found.rows[less[same]]
    return paid_before


def _gain(series: Series, found: Payments) -> Rows:
    """Capital gains that the dividend of the day includes, and that are taken out beside it.

    Which of both it is, prices tell, over all such days of the instrument: one day's market moves as much as a gain.
    """
    both = found.paid + found.gained
    apart = _alike(found.taken, both) | _alike(found.taken, 1 - (1 - found.paid) * (1 - found.gained))
    left = np.flatnonzero((found.gained > 0) & (found.paid >= found.gained) & apart)
    code = series.code[found.rows[left]]
    fell, once, doubled = (
        np.bincount(code, values[left], minlength=1)[code]
        for values in (found.fell, -np.log1p(-np.minimum(found.paid, 0.99)), -np.log1p(-np.minimum(both, 0.99)))
    )
    return pick(found.rows[left], np.abs(fell - once) < np.abs(fell - doubled))


def not_in_price(series: Series) -> Rows:
    """Ex-dates whose payment is taken out although the price did not fall by it."""
    found = series.payments
    size = -np.log1p(-np.minimum(found.paid, 0.99))
    missing = size - found.fell
    # A price that nobody traded at tells nothing: funds and small companies keep their last one.
    traded = (series.volume[found.rows] > 0) | (series.high[found.rows] > series.low[found.rows])
    likely = (
        traded
        & (found.gained == 0)
        & _alike(found.taken, found.paid)
        & (found.paid > LEAST_YIELD)
        & (found.fell < SHOWN * size)
    )
    rows = pick(found.rows, likely)
    return pick(rows, missing[likely] > UNUSUAL * series.spread(rows))


def mismatch(series: Series) -> Rows:
    """Ex-dates, and other days, on which another amount is taken out than was paid."""
    found = series.payments
    wanted = _sum(found)
    other = found.rows[~_alike(found.taken, wanted)]
    explained = np.concatenate([not_adjusted(series), other_unit(series), twice(series)])
    factor = series.factor
    moved = 1 + np.flatnonzero(np.abs(factor[1:] - factor[:-1]) > UNEXPLAINED * factor[1:])
    moved = moved[series.code[moved] == series.code[moved - 1]]
    unpaid = moved[series.has_actions[moved] & (series.dividend[moved] == 0) & (series.gain[moved] == 0)]
    return np.concatenate([np.setdiff1d(other, explained), unpaid])
