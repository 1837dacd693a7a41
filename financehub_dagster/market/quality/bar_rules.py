"""What a daily bar must satisfy to enter a table, surely or in doubt: rules, declared once, over whole frames.

Belongs here: rules that a bar keeps or breaks by its own numbers. A bar that breaks one of RULES is impossible and is
rejected; one that breaks one of DOUBTS is stored where no vendor has a better one, and a check counts it. Does not
belong here: unfinished bars, which providers drop, missing sessions (`calendars`), types of columns (`schemas`).
Imports numpy, so it is itself imported only where bars are judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

type Column = Callable[[str], NDArray[np.float64]]

_PRICES = ("open", "high", "low", "close")


PLAUSIBLE = 0.1
"""How far outside of low to high open and close of a bar in doubt may lie, as a share of close; farther is impossible.

Vendors take open and close from auctions or single prints that they leave out of the range: Yahoo's open of SPY on
2015-03-05 is 0.2 % below its low. Of 371 such bars in histories recorded from Yahoo (London and Tel Aviv, 2022 to 2024)
364 are outside by 6.2 % at most, the others are of one share that moves in steps of a sixth. A wrong unit, a split that
was not applied and another security's price are off by half or more.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by the name under which rejected rows are kept; `kept` says row by row whether it is kept."""

    name: str
    description: str
    kept: Callable[[Column], NDArray[np.bool_]] = field(repr=False)


def _each(kept: Callable[[str], NDArray[np.bool_]], names: Sequence[str]) -> NDArray[np.bool_]:
    """Which bars keep a condition in each of the columns."""
    result = kept(names[0])
    for name in names[1:]:
        result &= kept(name)
    return result


def _finite(of: Column) -> NDArray[np.bool_]:
    return _each(lambda name: np.isfinite(of(name)), (*_PRICES, "volume"))


def _positive(of: Column) -> NDArray[np.bool_]:
    return _each(lambda name: of(name) > 0, _PRICES)


def outside(of: Column) -> NDArray[np.float64]:
    """By how much open or close lies outside of low to high."""
    below = of("low") - np.minimum(of("open"), of("close"))
    above = np.maximum(of("open"), of("close")) - of("high")
    farther: NDArray[np.float64] = np.maximum(np.maximum(below, above), 0.0)
    return farther


def _ordered(of: Column) -> NDArray[np.bool_]:
    return (of("low") <= of("high")) & (outside(of) <= PLAUSIBLE * of("close"))


RULES: tuple[Rule, ...] = (
    Rule("finite", "open, high, low, close and volume are numbers", _finite),
    Rule("positive", "open, high, low and close are above zero", _positive),
    Rule("ordered", "low is not above high, open and close lie between them or next to them", _ordered),
    Rule("volume_not_negative", "volume is not below zero", lambda of: of("volume") >= 0),
    Rule("adj_close_finite", "adj_close is a number or unknown", lambda of: ~np.isinf(of("adj_close"))),
)
"""In the order they are tried; a bar that breaks several is rejected by the first."""

DOUBTS: tuple[Rule, ...] = (
    Rule("outside_range", "open and close lie between low and high", lambda of: outside(of) == 0),
)
"""What a bar that keeps RULES may still break."""


def all_kept(of: Column, rules: Sequence[Rule]) -> bool:
    """Does every bar keep every rule? `of` gives a column's values by its name; a frame costs four times as much."""
    with np.errstate(invalid="ignore"):
        return all(bool(rule.kept(of).all()) for rule in rules)


def judge(bars: "pd.DataFrame", rules: Sequence[Rule] = RULES) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Split bars into those that keep every rule and those that do not, which get a column `rule`: the one they break.

    bars has open, high, low, close, volume, and adj_close where known, or what `rules` about other rows look at; other
    columns and the index are carried along.
    """
    arrays: dict[str, NDArray[np.float64]] = {}

    def of(name: str) -> NDArray[np.float64]:
        if name not in arrays:
            known = name in bars or name != "adj_close"
            arrays[name] = bars[name].to_numpy(np.float64, na_value=np.nan) if known else np.full(len(bars), np.nan)
        return arrays[name]

    if all_kept(of, rules):
        return bars, bars.iloc[:0].assign(rule="")
    broken = np.full(len(bars), "", dtype=object)
    with np.errstate(invalid="ignore"):
        for rule in rules:
            broken[(broken == "") & ~rule.kept(of)] = rule.name
    good = broken == ""
    return bars[good], bars[~good].assign(rule=broken[~good])
