"""The rows of `signals`: the bars on which each declared rule fires, over whole histories of many instruments at once.

Belongs here: interpreting the declarations of `rules`. Does not belong here: which rules there are, indicators'
formulas (`market.indicators`). Imports TA-Lib, so it is itself imported only where signals are computed.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.derived import DerivedRows
from financehub_dagster.market.indicators.columns import INDICATORS
from financehub_dagster.market.indicators.engine import Bars
from financehub_dagster.market.indicators.rows import trades
from financehub_dagster.market.levels import pivot_points
from financehub_dagster.market.signals.rules import PIVOTS, RULES, Pattern, Rule, When

type Floats = NDArray[np.float64]
type Rows = NDArray[np.intp]

_COLUMNS = {column.name: column for column in INDICATORS}

SAME = 1e-9
"""Two series that differ by less are equal on a bar: as a part of the larger one, of prices also of the close.
So exact are indicators; what is left of equal values is rounding, as in a pivot of three times 100.1 over 3."""


def compute(bars: BarArrays, traded: NDArray[np.bool_]) -> DerivedRows:
    """One row for each bar and rule that fires on it; bars that are no trades (`traded` is False) are passed over.

    values has rule and direction (text), value and level (what was compared; level is NaN for candlesticks, whose value
    is TA-Lib's score) and price, the close.
    """
    fired = list(firings(bars, traded, RULES))
    rows = np.concatenate([each.rows for each in fired]) if fired else np.zeros(0, np.intp)
    sizes = [each.rows.size for each in fired]
    kept = np.flatnonzero(traded)
    numbers = np.repeat(np.arange(len(bars.symbols)), np.diff(bars.offsets))[kept]
    return DerivedRows(
        numbers[rows],
        bars.date[kept][rows],
        {
            "rule": np.repeat(np.array([each.rule for each in fired], object), sizes),
            "direction": np.repeat(np.array([each.direction for each in fired], object), sizes),
            "value": _joined(each.value for each in fired),
            "level": _joined(each.level for each in fired),
            "price": bars.close[kept][rows],
        },
    )


class Fired:
    """The bars on which one rule fires in one direction: rows among those traded, what was compared with what."""

    def __init__(self, rule: str, direction: str, rows: Rows, value: Floats, level: Floats) -> None:
        """The value and level given are of all rows."""
        self.rule, self.direction, self.rows = rule, direction, rows
        self.value, self.level = value[rows], level[rows]


def firings(bars: BarArrays, traded: NDArray[np.bool_], rules: Iterable[Rule | Pattern]) -> Iterator[Fired]:
    """Where each of `rules` fires, in each of its directions."""
    offsets, arrays = trades(bars, traded)
    series = _Series(Bars(offsets, arrays), bars.high[traded], bars.low[traded])
    for rule in rules:
        if isinstance(rule, Rule):
            yield _fired(rule, "entry", rule.entry, series)
            yield _fired(rule, "exit", rule.exit, series)
        else:
            yield from _completed(rule, series)


class _Series:
    """The series that rules compare, each computed once."""

    def __init__(self, bars: Bars, high: Floats, low: Floats) -> None:
        """Takes high and low as they are stored, from which pivots are computed as in the table of pivot points."""
        self.bars = bars
        self.starts = np.repeat(bars.offsets[:-1], np.diff(bars.offsets))
        self._pivots = self._of_the_bar_before(high, low)
        self.flat = bars.arrays["high"] == bars.arrays["low"]
        """Bars without a range have no candle; for TA-Lib each of them is a doji."""

    def __getitem__(self, name: str | float) -> Floats:
        """One value per bar, NaN where there is none."""
        if isinstance(name, float):
            return np.full(self.bars.rows, name)
        if name in _COLUMNS:
            return self.bars.column(_COLUMNS[name])
        return self._pivots[name] if name in PIVOTS else self.bars.arrays[name]

    def _of_the_bar_before(self, high: Floats, low: Floats) -> Mapping[str, Floats]:
        before = np.arange(self.bars.rows) - 1
        known = before >= self.starts
        previous = (np.where(known, each[before], np.nan) for each in (high, low, self.bars.arrays["close"]))
        return pivot_points(*previous)


def _fired(rule: Rule, direction: str, when: When, series: _Series) -> Fired:
    value, level = series[when.value], series[when.level]
    side = _side(value, level, series["close"] if _is_price(when.value) else np.zeros(value.size))
    wanted = 1 if when.how.endswith("above") else -1
    fires = side == wanted
    if when.how in ("rises above", "falls below"):
        fires &= _side_before(side, series.starts) == -wanted
    return Fired(rule.name, direction, np.flatnonzero(fires), value, level)


def _is_price(name: str) -> bool:
    return name not in _COLUMNS or _COLUMNS[name].unit == "price"


def _side(value: Floats, level: Floats, least: Floats) -> Floats:
    """1 where value is above level, -1 below; 0 where they are equal, to SAME of `least` or more, or one is unknown."""
    size = np.maximum(np.maximum(np.abs(value), np.abs(level)), least)
    return np.where(np.abs(value - level) > SAME * size, np.sign(value - level), 0.0)


def _side_before(side: Floats, starts: NDArray[np.int64]) -> Floats:
    """Of each bar, the side (1 above, -1 below) on the last bar before it on which the two series differed; 0: none."""
    differs = np.maximum.accumulate(np.where(side != 0, np.arange(side.size), -1))
    before = np.append(-1, differs)[:-1]
    return np.where(before >= starts, side[before], 0.0)


def _completed(rule: Pattern, series: _Series) -> Iterator[Fired]:
    score = np.where(series.flat, 0.0, series.bars.talib(rule.function, "open", "high", "low", "close"))
    none = np.full(score.size, np.nan)
    if rule.neutral:
        yield Fired(rule.name, "neutral", np.flatnonzero(score), score, none)
        return
    yield Fired(rule.name, "bullish", np.flatnonzero(score > 0), score, none)
    yield Fired(rule.name, "bearish", np.flatnonzero(score < 0), score, none)


def _joined(parts: Iterable[Floats]) -> Floats:
    return np.concatenate([*parts, np.zeros(0)])
