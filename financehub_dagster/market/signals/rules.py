"""Every rule that makes a signal, declared once: what it means, when it fires, and what its directions are called.

Belongs here: plain declarations, importable without numpy, because table definitions, settings and documents read
them. Does not belong here: any computing; `firing` interprets these declarations.

A rule compares two series of an instrument's bars: `close`, a column of `market.indicators.columns`, a pivot level of
the bar before (`r1 s1 r2 s2`), or a constant. A candlestick rule is a function of TA-Lib.
"""

from dataclasses import dataclass
from typing import Literal

from financehub_dagster.market.signals.candlesticks import NEUTRAL, PATTERNS

type How = Literal["rises above", "falls below", "is above", "is below"]
type Family = Literal["averages", "rsi", "macd", "bollinger", "pivots", "supertrend", "candlesticks"]

DIRECTIONS = ("entry", "exit", "bullish", "bearish", "neutral")
"""What a signal says: rules of two series enter and exit; candlesticks are bullish, bearish or neutral."""
PIVOTS = ("r1", "s1", "r2", "s2")


@dataclass(frozen=True, slots=True)
class When:
    """On which bars a rule fires in one direction, and what that is called.

    `rises above`: value is above level, and was below it on the last bar on which the two differed. `falls below` is
    its mirror image. The first bar on which both are known fires neither: nothing has been crossed. `is above` and
    `is below` look at the bar alone. Values that differ by rounding only are equal (`firing.SAME`).
    """

    title: str
    value: str
    how: How
    level: str | float

    def __str__(self) -> str:
        """`sma_50 rises above sma_200`."""
        level = f"{self.level:g}" if isinstance(self.level, float) else self.level
        return f"`{self.value}` {self.how} `{level}`"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over two series of numbers: the bars on which it enters, and those on which it exits."""

    name: str
    family: Family
    definition: str
    entry: When
    exit: When


@dataclass(frozen=True, slots=True)
class Pattern:
    """A candlestick pattern: TA-Lib's `function` of open, high, low and close is not 0 on the bar that completes it.

    A positive score is bullish and a negative one bearish; a neutral pattern is neither, whatever the sign.
    """

    name: str
    definition: str
    function: str
    neutral: bool
    family: Family = "candlesticks"


def _both(name: str, family: Family, definition: str, entry: str, exit_: str, value: str, level: str | float) -> Rule:
    """A rule that enters when value crosses level upwards, and exits when it crosses it downwards."""
    rises, falls = When(entry, value, "rises above", level), When(exit_, value, "falls below", level)
    return Rule(name, family, definition, rises, falls)


_RULES: tuple[Rule, ...] = (
    _both(
        "sma_20_50",
        "averages",
        "The mean close of 20 bars crosses that of 50.",
        "bullish crossing",
        "bearish crossing",
        "sma_20",
        "sma_50",
    ),
    _both(
        "sma_50_200",
        "averages",
        "The mean close of 50 bars crosses that of 200.",
        "golden cross",
        "death cross",
        "sma_50",
        "sma_200",
    ),
    Rule(
        "rsi_14",
        "rsi",
        "The relative strength index leaves the oversold range below 30, or the overbought range above 70.",
        When("no longer oversold", "rsi_14", "rises above", 30.0),
        When("no longer overbought", "rsi_14", "falls below", 70.0),
    ),
    _both(
        "macd_signal",
        "macd",
        "MACD crosses its signal line.",
        "MACD above its signal line",
        "MACD below its signal line",
        "macd",
        "macd_signal",
    ),
    _both(
        "macd_zero",
        "macd",
        "MACD crosses zero: EMA 12 crosses EMA 26.",
        "MACD above zero",
        "MACD below zero",
        "macd",
        0.0,
    ),
    Rule(
        "bollinger",
        "bollinger",
        "The close leaves the Bollinger bands.",
        When("break above the upper band", "close", "rises above", "bb_upper"),
        When("break below the lower band", "close", "falls below", "bb_lower"),
    ),
    Rule(
        "pivot_1",
        "pivots",
        "The close lies beyond the first resistance or support, computed from the bar before.",
        When("break of the first resistance", "close", "is above", "r1"),
        When("break of the first support", "close", "is below", "s1"),
    ),
    Rule(
        "pivot_2",
        "pivots",
        "The close lies beyond the second resistance or support, computed from the bar before.",
        When("break of the second resistance", "close", "is above", "r2"),
        When("break of the second support", "close", "is below", "s2"),
    ),
    _both(
        "supertrend",
        "supertrend",
        "The Supertrend flips: the close crosses the line that trails the trend.",
        "trend turns up",
        "trend turns down",
        "close",
        "supertrend",
    ),
)

_PATTERNS = tuple(
    Pattern(f"cdl_{function.removeprefix('CDL').lower()}", title, function, function in NEUTRAL)
    for function, title in PATTERNS.items()
)

RULES: tuple[Rule | Pattern, ...] = (*_RULES, *_PATTERNS)
"""Every rule of `signals`."""
BY_NAME: dict[str, Rule | Pattern] = {rule.name: rule for rule in RULES}
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(rule.family for rule in RULES))


def title(rule: str, direction: str) -> str:
    """What a signal is called: `golden cross`, `Hammer, bullish`; its name where the rule is not declared any more."""
    declared = BY_NAME.get(rule)
    if isinstance(declared, Rule):
        return declared.entry.title if direction == "entry" else declared.exit.title
    return f"{declared.definition}, {direction}" if declared is not None else f"{rule}, {direction}"
