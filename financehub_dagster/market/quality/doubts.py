"""Which bars are doubtful: rules about a bar among those before and after it, declared once, judged on arrays.

Belongs here: the rules, each with its reason and its source. Does not belong here: what makes a bar impossible
(`bar_rules`), comparing two vendors (`agreement`), and what a repair makes of a doubtful bar (`repairs`). Imports
numpy: import it inside functions.

A doubtful bar is stored with the names of the rules that it breaks in its column `flags`. Thresholds are multiples of
the spread of the instrument's own past returns (`Series.spread`), so that one rule fits a bond fund and a coin. Only
steps that are large for any instrument are compared with it: judging costs little where nothing is wrong.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.quality import bar_rules, dividend_rules
from financehub_dagster.market.quality.series_arrays import ENOUGH, PAST, Floats, Mask, Rows, Series, pick

type Bits = NDArray[np.uint32]

UNITS = (100.0, 1000.0)
"""Pounds and pence, rand and cents; dinars and fils."""
UNIT_ROOM = np.log(1.25)
UNIT_BARS = 10
"""Bars that an error of the unit lasts at most to be told from a change of it."""
FIRST_LOOK = UNIT_BARS
"""Bars before one that are enough to tell that it breaks no rule, if no step up to it is LARGE and it does not depend
on its past itself (`Series.depends_on_past`): rules that look farther, or at bars after it, are about such bars."""

DETACHED, ATTACHED = (0.10, 8.0), (0.25, 12.0)
"""The least log return, and multiple of the spread, from which on a step that reverts is a spike: of a bar that opened
where it closed, away from its neighbours, and of one that traded its way there and back."""
REVERTED = 0.25
"""What may be left of a spike one bar later, as a share of it."""

EXTREME, EXTREME_LEFT = np.log(4.0), np.log(1.5)
"""Returns over 300 % of which less than 50 % is left (Ince and Porter 2006, "Individual equity return data from Thomson
Datastream: handle with care", Journal of Financial Research 29)."""

LIQUID = 0.98
"""Share of past bars with volume from which on a bar without any is doubtful."""
STALE_FLAT = 3
"""Bars of one price and volume, one like the other, from which on they are taken for repeated. One that moved between
low and high is not repeated by chance."""

EXACT = 2.0**53
"""From here on not every whole number is a double."""

ABOVE = 1.01
"""What rounding may make of an adjusted close that equals the close, as a share of it, even of a price of a cent."""

BEFORE, AFTER = 16, 16
"""Bars before and after one that rules look at, beside its PAST: an ex-date is NEAR_SPLIT bars away at most."""

LEAST_SPLIT = np.log(1.3)
"""Ratios nearer to 1 than this are not told from a day's move."""
SPLIT_ROOM, SPLIT_MOVE = 0.3, 0.25
"""How near to a split's ratio the step on its ex-date must be: a share of its logarithm, and what a price may move."""
NEAR_SPLIT, NEAR_ROOM = 15, 0.03
"""Bars around an ex-date in which a step by its ratio, this exactly, is of a history that is adjusted in part."""
UNUSUAL = 5.0
"""Multiple of the spread from which on a step is not a usual day's."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A rule by the name that stands in `flags`: what it says, why, and where it comes from."""

    name: str
    description: str
    reason: str
    source: str
    find: Callable[[Series], Rows] = field(repr=False)


def _outside_range(series: Series) -> Rows:
    return np.flatnonzero(bar_rules.outside(lambda name: getattr(series, name)) > 0)


def _unit(series: Series) -> Rows:
    """Bars in another unit than those before, until they are back; one that is not back is where the unit changed."""
    found = series.large
    found = pick(found, _near_unit(np.abs(series.step[found])))
    back = _reverts(series, found, UNIT_BARS, UNIT_ROOM / np.log(UNITS[0]))
    # The step back is no second error.
    ends = np.unique(found[back > 0] + back[back > 0])
    wrong = [np.arange(row, row + max(length, 1)) for row, length in zip(found, back, strict=True) if row not in ends]
    rows: Rows = np.concatenate([*wrong, _unit_of_high_or_low(series)]).astype(np.intp)
    return rows


def _unit_of_high_or_low(series: Series) -> Rows:
    found = np.flatnonzero(series.high > UNITS[0] / 2 * series.low)
    opened, closed = series.open[found], series.close[found]
    size = np.log(np.fmax(series.high[found] / np.fmax(opened, closed), np.fmin(opened, closed) / series.low[found]))
    return pick(found, _near_unit(size))


def _near_unit(size: Floats) -> Mask:
    """Which log ratios are about that of two units."""
    return np.asarray(np.logical_or.reduce([np.abs(size - np.log(unit)) <= UNIT_ROOM for unit in UNITS]))


def _reverts(series: Series, rows: Rows, longest: int, left: float) -> Rows:
    """After how many bars each step is undone but for `left` of it; 0: not within `longest`."""
    result = np.zeros(len(rows), np.intp)
    for length in range(longest, 0, -1):
        later = series.after(rows, length)
        moved = series.log_close[later] - (series.log_close[rows] - series.step[rows])
        result[(later >= 0) & (np.abs(moved) <= left * np.abs(series.step[rows]))] = length
    return result


def _spike(series: Series) -> Rows:
    found = series.large
    found = found[_reverts(series, found, 1, REVERTED) == 1]
    size, later = np.abs(series.step[found]), series.after(found)
    before = series.log_close[found] - series.step[found]
    with np.errstate(divide="ignore", invalid="ignore"):
        came = (np.log(series.open[found]) - before) / series.step[found]
        went = (series.log_close[found] - np.log(series.open[later])) / series.step[found]
    detached = (came >= 0.5) & (went >= 0.5)
    spread = series.spread(found)
    least = [np.maximum(log_return, multiple * spread) for log_return, multiple in (DETACHED, ATTACHED)]
    return pick(found, size > np.where(detached, *least))


def _extreme(series: Series) -> Rows:
    found = series.large
    later = series.after(found)
    found, later = found[later >= 0], later[later >= 0]
    up = np.maximum(series.step[found], series.step[later]) > EXTREME
    return pick(found, up & (series.step[found] + series.step[later] < EXTREME_LEFT))


def _stale(series: Series) -> Rows:
    found = 1 + np.flatnonzero(series.close[1:] == series.close[:-1])
    for name in ("open", "high", "low", "volume", "code"):
        values = getattr(series, name)
        found = found[values[found] == values[found - 1]]
    moved = series.high[found] > series.low[found]
    repeats = np.isin(found[:, None] - np.arange(1, STALE_FLAT - 1), found).all(axis=1)
    return pick(found, moved | (repeats & (series.volume[found] > 0)))


def _no_volume(series: Series) -> Rows:
    found = np.flatnonzero(series.volume == 0)
    if not len(found):
        return found
    # Most bars without volume are of funds and indices, which never have any.
    traded = np.concatenate([[0], np.cumsum(series.volume > 0)])
    since = np.maximum(series.start[found], found - PAST)
    return pick(found, traded[found] - traded[since] >= LIQUID * np.maximum(found - since, ENOUGH))


def _split(series: Series, sign: int) -> Rows:
    """Steps by a split's ratio, down (sign 1: it is not taken out) or up (-1: it is taken out twice)."""
    found: list[int] = []
    for row, ratio in series.splits:
        size, wanted = abs(np.log(ratio)), -sign * np.log(ratio)
        if size < LEAST_SPLIT:
            continue
        first = max(row - NEAR_SPLIT, int(series.start[row]) + 1)
        near = np.arange(first, min(row + NEAR_SPLIT + 1, len(series)))
        near = near[series.code[near] == series.code[row]]
        room = np.where(near == row, min(SPLIT_ROOM * size, SPLIT_MOVE), NEAR_ROOM)
        near = near[np.abs(_without_payment(series, near) - wanted) <= room]
        found += [int(each) for each in near[np.abs(series.step[near]) > UNUSUAL * series.spread(near)]]
    return np.array([row for row in found if not _is_return(series, row)], np.intp)


def _without_payment(series: Series, rows: Rows) -> Floats:
    """Log returns with what was paid: consolidations often come with a payment, and the price falls by that."""
    paid = np.minimum((series.dividend[rows] + series.gain[rows]) / series.close[rows - 1], 0.99)
    return np.asarray(series.step[rows] - np.log1p(-paid))


def _is_return(series: Series, row: int) -> bool:
    """Whether a step undoes one shortly before, that has the fault."""
    before = series.step[max(int(series.start[row]) + 1, row - UNIT_BARS) : row]
    return bool((np.abs(before + series.step[row]) <= NEAR_ROOM).any())


DOUBTS: tuple[Doubt, ...] = (
    Doubt(
        "outside_range",
        "open or close lies outside of low to high, by at most 10 % of close",
        "Vendors take open and close from auctions or single prints that they leave out of the range.",
        "Yahoo's SPY on 2015-03-05 and 2015-03-30; 371 bars of London and Tel Aviv shares",
        _outside_range,
    ),
    Doubt(
        "unit_100x",
        "the price is about 100 or 1,000 times that of its neighbours, or a part of it",
        "Vendors mix a currency's major and minor unit, such as pounds and pence.",
        "yfinance's documentation of price repair, 100x errors",
        _unit,
    ),
    Doubt(
        "spike",
        "the close leaves the price before by far more than usual and is back with the next bar",
        "A wrong tick, or a bar of another basis or security, is followed by the right price.",
        "Brownlees and Gallo 2006, Financial econometric analysis at ultra-high frequency, section 2 (own thresholds)",
        _spike,
    ),
    Doubt(
        "extreme_return",
        "a return over 300 % of which less than 50 % is left one bar later",
        "Errors of the adjustment and of decimals make returns that no portfolio could have earned.",
        "Ince and Porter 2006, Journal of Financial Research 29, section 4",
        _extreme,
    ),
    Doubt(
        "stale",
        "prices and volume are those of the bar before",
        "A vendor fills a session it lacks with its last bar.",
        "S&P and Refinitiv data quality guides call it a stale price; own conditions",
        _stale,
    ),
    Doubt(
        "no_volume",
        "no volume, of an instrument that trades in nearly all sessions",
        "The bar was filled, or the volume is missing.",
        "yfinance's documentation of price repair, missing data; the share of sessions is our own",
        _no_volume,
    ),
    Doubt(
        "split_not_applied",
        "the price steps by the ratio of a known split: earlier bars are not adjusted for it",
        "Vendors adjust their history some days after the ex-date, or in part.",
        "yfinance's documentation of price repair, missing split adjustments",
        lambda series: _split(series, 1),
    ),
    Doubt(
        "split_applied_twice",
        "the price steps against the ratio of a known split: earlier bars are adjusted for it twice",
        "A split that is reported on two days, or under two kinds, is taken out of the history twice.",
        "yfinance's documentation of price repair, bad split adjustments",
        lambda series: _split(series, -1),
    ),
    Doubt(
        "dividend_not_adjusted",
        "a payment is not taken out of the adjusted closes before its ex-date",
        "Returns from adjusted closes lack the payment.",
        "yfinance's documentation of price repair, missing dividend adjustments",
        dividend_rules.not_adjusted,
    ),
    Doubt(
        "dividend_adjusted_twice",
        "a payment is taken out of the adjusted closes twice: at once, on two days, or as dividend and capital gain",
        "Vendors report one payment under two dates or kinds.",
        "yfinance's documentation of price repair, phantom dividends and double-counted capital gains",
        dividend_rules.twice,
    ),
    Doubt(
        "dividend_unit_100x",
        "the adjustment is about a hundredth of the payment, or a hundred times it",
        "The payment is in pence and the price in pounds, or the other way round.",
        "yfinance's documentation of price repair, 100x dividends",
        dividend_rules.other_unit,
    ),
    Doubt(
        "dividend_mismatch",
        "the adjusted closes take out another amount than was paid, or something although nothing was paid",
        "A payment that was not divided by a later split, or a payment that the vendor does not report.",
        "CRSP data definitions, factor to adjust prices: the ratio of two factors is 1 - payment / price",
        dividend_rules.mismatch,
    ),
    Doubt(
        "dividend_not_in_price",
        "a payment is taken out by which the price, against all of its past, did not fall",
        "On its ex-date a share is worth less by the payment; a payment that nobody gave up is one of another unit.",
        "Elton and Gruber 1970, Review of Economics and Statistics 52: prices fall by most of the payment",
        dividend_rules.not_in_price,
    ),
    Doubt(
        "volume_rounded",
        "the volume is 2⁵³ or more, where not every whole number is a double: it may be off by one part in 10¹⁶",
        "Volumes are double precision, as prices are.",
        "IEEE 754 binary64: 53 bits of significand",
        lambda series: np.flatnonzero(series.volume >= EXACT),
    ),
    Doubt(
        "adjusted_above_close",
        "the adjusted close is more than 1 % above the close",
        "Splits are taken out of both; taking payments out as well only lowers a price.",
        "CRSP data definitions, factor to adjust prices: 1 - payment / price, which is below 1",
        lambda series: np.flatnonzero(series.factor > ABOVE),
    ),
)
"""In the order in which their names stand in `flags`; a rule's place here is its bit."""

NAMES = tuple(doubt.name for doubt in DOUBTS)


def judge(series: Series, rules: Sequence[Doubt] = DOUBTS) -> Bits:
    """Which rules each bar breaks: bit n of a bar, in the order of the series, is set for the n-th of `rules`."""
    bits = np.zeros(len(series), np.uint32)
    if not len(series):
        return bits
    for place, doubt in enumerate(rules):
        # Of a bar's neighbours none has the price 0, but a caller may read what older rules let through.
        with np.errstate(divide="ignore", invalid="ignore"):
            bits[doubt.find(series)] |= np.uint32(1 << place)
    return bits


def bits_of(flags: Iterable[str]) -> int:
    """The bits of the rules named; names that no rule has any more are left out."""
    return sum(1 << NAMES.index(name) for name in flags if name in NAMES)


@lru_cache(maxsize=256)
def names(bits: int) -> tuple[str, ...]:
    """The rules that are set in `bits`."""
    return tuple(name for place, name in enumerate(NAMES) if bits >> place & 1)
