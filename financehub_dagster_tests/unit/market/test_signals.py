"""Each rule fires on exactly the bars that its definition names, and on no other."""

from typing import Any

import numpy as np
import pytest
import talib
from talib import abstract

from financehub_dagster.market.bar_arrays import BarArrays
from financehub_dagster.market.derived import DerivedRows
from financehub_dagster.market.indicators import engine
from financehub_dagster.market.signals.candlesticks import NEUTRAL, PATTERNS
from financehub_dagster.market.signals.firing import compute
from financehub_dagster.market.signals.rules import BY_NAME, RULES, Pattern, Rule, title

DAY = np.datetime64("2020-01-01")


def bars(*closes, reach: float = 1.0, ohlc=None) -> BarArrays:
    """One instrument for each series of closes: opened at the close of the bar before, `reach` beyond either way."""
    parts = [np.asarray(series, float) for series in closes]
    offsets = np.cumsum([0, *(part.size for part in parts)])
    close = np.concatenate(parts)
    dates = np.concatenate([DAY + np.arange(part.size) for part in parts])
    opens, high, low = (close, close + reach, close - reach) if ohlc is None else ohlc
    names = [f"S{number}" for number in range(len(parts))]
    return BarArrays(names, offsets, dates, opens, high, low, close, np.full(close.size, 1000.0))


def fired(given: BarArrays, rule: str, traded=None) -> list[tuple]:
    """Number of the bar and direction for each time the rule fires, in order; of several instruments with theirs."""
    return in_order(given, compute(given, np.ones(given.close.size, np.bool_) if traded is None else traded), rule)


def in_order(given: BarArrays, rows: DerivedRows, rule: str) -> list[tuple]:
    own = rows.values["rule"] == rule
    found = zip(rows.instruments[own], (rows.date[own] - DAY).astype(int), rows.values["direction"][own], strict=True)
    ordered = sorted((int(number), int(bar), str(direction)) for number, bar, direction in found)
    several = len(given.symbols) > 1
    return [(f"S{number}", bar, way) if several else (bar, way) for number, bar, way in ordered]


def steps(*levels: tuple[float, int]) -> np.ndarray:
    """Closes that stay at each level for so many bars."""
    return np.concatenate([np.full(count, level) for level, count in levels])


def ramp(start: float, step: float, count: int) -> np.ndarray:
    return start + step * np.arange(1, count + 1)


def test_a_short_average_crosses_a_longer_one_on_the_bar_that_moves_it_beyond() -> None:
    closes = steps((100, 60), (90, 60), (110, 80), (90, 30))
    assert fired(bars(closes), "sma_20_50") == [(120, "entry"), (200, "exit")]


def test_a_golden_cross_and_a_death_cross_of_50_and_200_bars() -> None:
    closes = steps((100, 220), (90, 220), (110, 220), (90, 220))
    assert fired(bars(closes), "sma_50_200") == [(440, "entry"), (660, "exit")]


def test_averages_that_touch_and_part_again_have_not_crossed() -> None:
    closes = steps((100, 60), (90, 120), (85, 60))
    averages = engine.compute_many([0, closes.size], *[closes] * 5)
    assert (averages["sma_20"] == averages["sma_50"])[110:180].all(), "they meet at 90"
    assert fired(bars(closes), "sma_20_50") == []


def test_rsi_enters_when_it_leaves_the_oversold_range_and_exits_when_it_leaves_the_overbought_one() -> None:
    falling = ramp(200, -1, 30)
    up = ramp(falling[-1] + 10, 1, 40)
    # One gain of 10 after 30 losses of 1: 10 / (10 + 13) = 43.5; a loss of 10 after many gains of 1 mirrors it.
    closes = np.concatenate([falling, [falling[-1] + 10], up, [up[-1] - 10], steps((up[-1] - 10, 20))])
    assert fired(bars(closes), "rsi_14") == [(30, "entry"), (71, "exit")]


def test_macd_crosses_zero_when_the_faster_average_overtakes() -> None:
    closes = steps((100, 60), (90, 60), (110, 80), (90, 30))
    assert fired(bars(closes), "macd_zero") == [(120, "entry"), (200, "exit")]


def test_macd_turns_below_its_signal_at_once_when_a_rise_ends_in_a_fall() -> None:
    # On a parabola MACD grows from bar to bar, so that its own average stays behind it; one big fall turns that.
    rise = 100 + 0.05 * np.arange(80.0) ** 2
    closes = np.concatenate([rise, [rise[-1] - 150]])
    assert fired(bars(closes), "macd_signal") == [(80, "exit")]
    mirrored = 1000 - closes
    assert fired(bars(mirrored), "macd_signal") == [(80, "entry")]


def test_a_close_leaves_the_bollinger_bands_once_however_long_it_stays_outside() -> None:
    quiet = 100 + np.tile([1.0, -1.0], 20)
    closes = np.concatenate([quiet, steps((110, 40), (100, 10))])
    outside = engine.compute_many([0, closes.size], *[closes] * 5)["bb_upper"] < closes
    assert outside[40:43].all(), "it stays outside for several bars"
    assert fired(bars(closes), "bollinger") == [(40, "entry"), (80, "exit")]


def test_pivots_are_those_of_the_bar_before() -> None:
    # A bar of 99 to 101 that closes at 100 gives r1 101, r2 102, s1 99, s2 98.
    closes = [100, 100, 101.5, 101.5, 100, 102.5, 100]
    assert fired(bars(closes), "pivot_1") == [(2, "entry"), (4, "exit"), (5, "entry"), (6, "exit")]
    assert fired(bars(closes), "pivot_2") == [(5, "entry"), (6, "exit")]


def test_pivots_that_are_met_are_not_broken() -> None:
    assert fired(bars([100, 101, 100]), "pivot_1") == []


def test_pivots_that_are_met_are_not_broken_however_their_sums_round() -> None:
    """At any price in cents, on bars without a range and where the close is the first support to the cent."""
    cents = np.arange(100, 10_000, 13)
    prices = cents / 100
    pivot = (prices + prices + prices) / 3
    assert (prices < 2 * pivot - prices).any(), "rounding puts no support above its price"
    flat = bars(*np.stack([prices, prices], axis=1), reach=0.0)
    assert fired(flat, "pivot_1") == fired(flat, "pivot_2") == []
    # High 3 cents above the close, low 3 below: the support is 3 cents below the close, and the next bar closes there.
    met = bars(*np.stack([prices, (cents - 3) / 100], axis=1), reach=0.03)
    assert fired(met, "pivot_1") == []


def test_averages_that_touch_but_for_rounding_have_not_crossed() -> None:
    """At prices whose sums round, the average of 20 bars rises to that of 50, stays there and falls back."""
    for price in (0.07, 0.1 + 0.2, 33.33, 1e-8 / 3, 1e6 / 7):
        closes = price * steps((1.1, 60), (1.0, 120), (0.9, 60))
        assert fired(bars(closes, reach=price / 100), "sma_20_50") == []


def test_supertrend_flips_where_the_close_crosses_its_line() -> None:
    closes = steps((100, 30), (110, 30), (90, 30))
    assert fired(bars(closes), "supertrend") == [(30, "entry"), (60, "exit")]


def test_a_hammer_after_falling_candles_is_bullish_and_a_doji_is_neutral() -> None:
    opens = np.append(np.arange(130.0, 100.0, -2.0), [100.0, 101.0])
    close = np.append(opens[:-2] - 1.8, [100.2, 101.0])
    high = np.append(opens[:-2] + 0.1, [100.2, 103.0])
    low = np.append(close[:-2] - 0.1, [96.0, 99.0])
    given = bars(close, ohlc=(opens, high, low))
    assert fired(given, "cdl_hammer") == [(15, "bullish")]
    assert (16, "neutral") in fired(given, "cdl_doji")


def test_no_candlestick_is_seen_in_bars_without_a_range() -> None:
    """A share that nobody trades for weeks, or that stands at its limit: from the first bar on, and after real bars."""
    real = 100 + np.sin(np.arange(60.0))
    for before in (real[:0], real):
        close = np.append(before, np.full(40, 100.0))
        reach = np.append(np.ones(before.size), np.zeros(40))
        given = bars(close, ohlc=(close, close + reach, close - reach))
        score = function_of_talib("CDLDOJI")({name: getattr(given, name) for name in ("open", "high", "low", "close")})
        assert score[before.size :].any(), "TA-Lib sees a doji there"
        rows = compute(given, np.ones(given.close.size, np.bool_))
        candles = [str(rule).startswith("cdl_") for rule in rows.values["rule"]]
        assert not (rows.date[candles] >= DAY + before.size).any()


RANDOM = np.random.default_rng(7)


def random_bars(count: int = 3, rows: int = 400) -> BarArrays:
    """Random walks with gaps and shadows, rounded to cents, so that equal prices occur."""
    close = (50 * np.exp(np.cumsum(RANDOM.normal(0, 0.02, (count, rows)), axis=1))).round(2)
    opens = (close * np.exp(RANDOM.normal(0, 0.01, close.shape))).round(2)
    high = (np.maximum(opens, close) * (1 + RANDOM.exponential(0.004, close.shape))).round(2)
    low = (np.minimum(opens, close) * (1 - RANDOM.exponential(0.004, close.shape))).round(2)
    return bars(*close, ohlc=(opens.ravel(), np.maximum(high, opens).ravel(), np.minimum(low, opens).ravel()))


def test_every_pattern_of_talib_is_declared_and_fires_where_talib_says_so() -> None:
    assert set(PATTERNS) == set(talib.get_function_groups()["Pattern Recognition"])
    given = random_bars(1, 4000)
    arrays = {name: getattr(given, name) for name in ("open", "high", "low", "close", "volume")}
    rows, seen = compute(given, np.ones(given.close.size, np.bool_)), 0
    for function, name in PATTERNS.items():
        pattern = function_of_talib(function)
        assert pattern.info["display_name"] == name
        score = np.where(given.high == given.low, 0, pattern(arrays))
        ways = np.where(score > 0, "bullish", "bearish")
        expected = [(int(bar), "neutral" if function in NEUTRAL else str(ways[bar])) for bar in np.flatnonzero(score)]
        assert in_order(given, rows, f"cdl_{function.removeprefix('CDL').lower()}") == expected
        seen += bool(expected)
    assert seen > 40, "the bars are too plain to show anything"


def function_of_talib(name: str) -> Any:
    return vars(abstract)["Function"](name)


def by_definition(rule: Rule, given: BarArrays, rows: slice) -> list[tuple[int, str]]:
    """What a reader of the definition expects of one instrument, bar after bar."""
    high, low, close = (getattr(given, name)[rows] for name in ("high", "low", "close"))
    series = engine.compute(given.open[rows], high, low, close, given.volume[rows])
    pp = (high + low + close) / 3
    levels = {"r1": 2 * pp - low, "s1": 2 * pp - high, "r2": pp + high - low, "s2": pp - high + low}
    series |= {"close": close} | {name: np.append(np.nan, values[:-1]) for name, values in levels.items()}
    found = []
    for direction, when in (("entry", rule.entry), ("exit", rule.exit)):
        last = 0
        for bar in range(close.size):
            level = when.level if isinstance(when.level, float) else series[when.level][bar]
            value = series[when.value][bar]
            apart = not np.isclose(value, level, rtol=1e-9, atol=0 if when.value == "rsi_14" else 1e-9 * close[bar])
            above, below = apart and value > level, apart and value < level
            fires = {
                "rises above": above and last < 0,
                "falls below": below and last > 0,
                "is above": above,
                "is below": below,
            }
            if fires[when.how]:
                found.append((bar, direction))
            last = 1 if above else -1 if below else last
    return sorted(found)


@pytest.mark.parametrize("rule", [rule for rule in RULES if isinstance(rule, Rule)], ids=lambda rule: rule.name)
def test_a_rule_fires_as_a_reader_of_its_definition_expects_for_each_of_many_instruments(rule) -> None:
    given = random_bars(6, 700)
    expected = [
        (symbol, *each)
        for number, symbol in enumerate(given.symbols)
        for each in by_definition(rule, given, slice(*given.offsets[number : number + 2]))
    ]
    assert expected, "the bars are too quiet to show anything"
    assert fired(given, rule.name) == sorted(expected)


def test_bars_without_a_trade_are_passed_over() -> None:
    closes = steps((100, 60), (90, 60), (110, 80))
    holiday = 100
    traded = np.ones(closes.size + 1, np.bool_)
    traded[holiday] = False
    given = bars(np.insert(closes, holiday, 500.0))
    assert fired(given, "sma_20_50", traded) == [(121, "entry")]
    assert DAY + holiday not in compute(given, traded).date


def test_histories_of_no_bar_or_a_single_one_have_no_signals_of_two_series() -> None:
    for given in (bars([100.0]), bars([]), bars([], [100.0])):
        rules = compute(given, np.ones(given.close.size, np.bool_)).values["rule"]
        assert [rule for rule in rules if isinstance(BY_NAME[rule], Rule)] == []


def test_every_signal_has_a_name_that_people_know() -> None:
    assert title("sma_50_200", "entry") == "golden cross"
    assert title("sma_50_200", "exit") == "death cross"
    assert title("cdl_hammer", "bullish") == "Hammer, bullish"
    assert title("a rule that was dropped", "entry") == "a rule that was dropped, entry"
    assert len(BY_NAME) == len(RULES) == 9 + 61
    assert all(rule.definition for rule in RULES)
    assert {rule.function for rule in RULES if isinstance(rule, Pattern) and rule.neutral} == NEUTRAL
