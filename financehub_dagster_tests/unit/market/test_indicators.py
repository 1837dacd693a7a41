"""Each indicator column equals TA-Lib called plainly, or the formula written out bar by bar."""

from collections.abc import Callable

import numpy as np
import pytest
import talib

from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS, INDICATORS, IndicatorColumn
from financehub_dagster.market.indicators.engine import compute, compute_many
from financehub_dagster.sandbox.market.recordings import recorded_daily
from financehub_dagster_tests.properties.markets import Bars, Floats, end_to_end, random_bars
from financehub_dagster_tests.properties.reference import NAN, ema, supertrend, supertrend_bands, wilder_atr


def recorded(symbol: str) -> Bars:
    days = recorded_daily(symbol)
    return Bars(days.open, days.high, days.low, days.close, days.volume)


def crash() -> Bars:
    """Calm markets around days that fall by four fifths and come back by half of that, beyond both Supertrend bands."""
    day = Bars(*(np.array([price]) for price in (80.0, 80.0, 20.0, 80.0, 5e6)))
    parts = []
    for seed, level in enumerate([1.0, 0.8, 0.64, 0.5]):
        calm = random_bars(45 + seed, seed, volatility=0.001)
        scale = level * 100 / calm.close[-1]
        parts += [Bars.of([*(scale * prices for prices in calm.columns[:4]), calm.volume])]
        parts += [Bars.of([*(level * prices for prices in day.columns[:4]), day.volume])]
    return Bars(*end_to_end(parts)[1])


def leap() -> Bars:
    """A calm market that trebles within the bar with which the average true range is known: above its upper band."""
    calm = random_bars(60, 9, volatility=0.001)
    factor = np.where(np.arange(60) < 10, 1.0, 3.0)
    prices = [factor * price for price in calm.columns[:4]]
    prices[0][10], prices[2][10], prices[3][10] = calm.open[10], calm.low[10], prices[1][10]
    return Bars.of([*prices, calm.volume])


def stopped() -> Bars:
    """A market whose price moves for 60 bars and then stands still for 100, at a volume of which sums lose digits."""
    moving = random_bars(60, 4)
    still = [np.full(100, moving.close[-1])] * 4
    prices = [np.concatenate(pair) for pair in zip(moving.columns[:4], still, strict=True)]
    return Bars.of([*prices, np.full(160, 1e15 / 3)])


MARKETS: dict[str, Callable[[], Bars]] = {
    "a random walk": lambda: random_bars(2520, 1),
    "Apple as recorded": lambda: recorded("AAPL"),
    "bitcoin as recorded": lambda: recorded("BTC"),
    "a crash": crash,
    "a leap": leap,
    "a price that stands still": lambda: Bars.of([*[np.full(300, 12.5)] * 4, np.full(300, 1000.0)]),
    "a price that moved until it stood still": stopped,
    "a price that stood still until it moved": lambda: Bars.of([column[::-1].copy() for column in stopped().columns]),
    "a market without volume": lambda: Bars.of([*random_bars(300, 3).columns[:4], np.zeros(300)]),
}


@pytest.fixture(params=list(MARKETS.values()), ids=list(MARKETS))
def bars(request: pytest.FixtureRequest) -> Bars:
    found: Bars = request.param()
    return found


def plain(bars: Bars) -> dict[str, Floats]:
    """Every column as a person would write it who has TA-Lib and one instrument."""
    _, high, low, close, volume = bars.columns
    macd, signal, histogram = talib.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)
    upper, middle, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2, nbdevdn=2)
    stoch_k, stoch_d = talib.STOCH(high, low, close, fastk_period=14, slowk_period=3, slowd_period=3)
    windows = range(len(bars))
    center, reach = ema(close, 20), 2 * wilder_atr(bars, 10)
    return {
        "sma_20": talib.SMA(close, 20),
        "sma_50": talib.SMA(close, 50),
        "sma_200": talib.SMA(close, 200),
        "ema_12": talib.EMA(close, 12),
        "ema_26": talib.EMA(close, 26),
        "rsi_14": talib.RSI(close, 14),
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": histogram,
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "atr_14": talib.ATR(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14),
        "stoch_k": stoch_k,
        "stoch_d": stoch_d,
        "cci_20": talib.CCI(high, low, close, 20),
        "obv": talib.OBV(close, volume),
        "mfi_14": talib.MFI(high, low, close, volume, 14),
        "willr_14": talib.WILLR(high, low, close, 14),
        "roc_10": talib.ROC(close, 10),
        "psar": talib.SAR(high, low, acceleration=0.02, maximum=0.2),
        "supertrend": supertrend(bars),
        "donchian_upper": np.array([max(high[row - 19 : row + 1]) if row >= 19 else NAN for row in windows]),
        "donchian_lower": np.array([min(low[row - 19 : row + 1]) if row >= 19 else NAN for row in windows]),
        "keltner_upper": center + reach,
        "keltner_lower": center - reach,
    }


def test_each_column_equals_the_plain_calculation_over_the_full_history(bars: Bars) -> None:
    expected = plain(bars)
    assert list(expected) == list(INDICATOR_COLUMNS)
    for name, values in compute(*bars.columns).items():
        defined = expected[name].copy()
        defined[undefined(bars, name)] = NAN
        np.testing.assert_allclose(values, defined, rtol=1e-9, atol=1e-9, err_msg=name)


def undefined(bars: Bars, name: str) -> list[int]:
    """The rows whose ratio is 0 / 0, bar by bar."""
    rows = range(len(bars))
    if name == "rsi_14":
        return [row for row in rows if set(bars.close[: row + 1]) == {bars.close[0]}]
    ranges = [max(bars.high[max(row - 13, 0) : row + 1]) - min(bars.low[max(row - 13, 0) : row + 1]) for row in rows]
    back = {"willr_14": 0, "stoch_k": 2, "stoch_d": 4}
    if name in back:
        return [row for row in rows if min(ranges[max(row - back[name], 0) : row + 1]) == 0]
    if name == "mfi_14":
        typical = (bars.high + bars.low + bars.close) / 3
        flows = [0.0, *(bars.volume[1:] * typical[1:] * (np.diff(typical) != 0))]
        return [row for row in rows if sum(flows[max(row - 13, 0) : row + 1]) == 0]
    return []


def test_a_price_that_never_moved_has_no_value_that_reads_as_a_direction() -> None:
    values = compute(*MARKETS["a price that stands still"]().columns)
    for name in ("rsi_14", "stoch_k", "stoch_d", "willr_14", "mfi_14"):
        assert np.isnan(values[name]).all(), name
    for name in ("adx_14", "cci_20", "roc_10", "macd", "macd_hist", "atr_14"):
        np.testing.assert_array_equal(values[name][50:], 0.0, err_msg=name)


def test_every_bounded_column_is_looked_at_over_a_flat_price() -> None:
    """A new one that reads 0, 50 or 100 into 0 / 0 fails here: declare where it is undefined, or list it."""
    bounded = {column.name for column in INDICATORS if column.bounds is not None}
    flat = compute(*MARKETS["a price that stands still"]().columns)
    told = {name for name in bounded if np.isfinite(flat[name]).any()}
    assert told == {"adx_14", "atr_14"}


def test_the_crash_is_one_that_crosses_both_supertrend_bands_at_once() -> None:
    bars = crash()
    bands = zip(bars.close[10:], supertrend_bands(bars), strict=True)
    assert any(upper < close < lower for close, (upper, lower) in bands)


def test_the_leap_ends_above_the_first_supertrend_band() -> None:
    bars = leap()
    assert bars.close[10] > supertrend_bands(bars)[0][0]


@pytest.mark.parametrize("length", [0, 1, 2, 10, 11, 19, 20, 21, 33, 34, 199, 200, 201])
def test_a_history_shorter_than_the_warm_up_gives_no_value_and_no_error(length: int) -> None:
    whole = random_bars(300)
    expected = compute(*whole.columns)
    for name, values in compute(*whole[:length].columns).items():
        np.testing.assert_array_equal(values, expected[name][:length], err_msg=name)


def test_the_warm_up_of_every_column_is_as_documented() -> None:
    values = compute(*random_bars(300).columns)
    first = {name: int(np.isfinite(column).argmax()) for name, column in values.items()}
    expected = "19 49 199 11 25 14 33 33 33 19 19 19 14 27 17 17 19 0 14 13 10 1 10 19 19 19 19"
    assert first == dict(zip(INDICATOR_COLUMNS, map(int, expected.split()), strict=True))


def test_more_instruments_than_walk_abreast_are_each_computed_alone() -> None:
    lengths = [5, 300, 0, 40, 12, 11, 10, *[60 + number % 7 for number in range(300)]]
    markets = [random_bars(length, seed) for seed, length in enumerate(lengths)]
    offsets, columns = end_to_end(markets)
    together = compute_many(offsets, *columns)
    for number, market in enumerate(markets):
        own = together["supertrend"][offsets[number] : offsets[number + 1]]
        np.testing.assert_allclose(own, supertrend(market), rtol=1e-12)


@pytest.mark.parametrize("offsets", [[], [1, 5], [0, 4], [0, 3, 2, 5], [[0, 5]]])
def test_offsets_that_do_not_cover_the_rows_are_refused(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match=r"^offsets must rise from 0 to the number of rows, 5$"):
        compute_many(offsets, *random_bars(5).columns)


def test_arrays_of_unlike_length_are_refused_by_name() -> None:
    bars = random_bars(5)
    with pytest.raises(ValueError, match=r"^high has shape \(4,\), close has 5 rows"):
        compute(bars.open, bars.high[:4], bars.low, bars.close, bars.volume)


def test_lists_and_integers_are_taken_like_arrays() -> None:
    bars = random_bars(30)
    open_, high, low, close = (column.tolist() for column in bars.columns[:4])
    given = compute(open_, high, low, close, bars.volume.astype(np.int64))
    for name, values in compute(*bars.columns).items():
        np.testing.assert_array_equal(given[name], values, err_msg=name)


def test_an_indicator_of_pandas_ta_is_added_by_its_name() -> None:
    bars = random_bars(120)
    column = IndicatorColumn("hma_9", "Hull", "price", "pandas_ta", "hma", ("close",), {"length": 9})
    values = compute(*bars.columns, columns=[*INDICATORS, column])
    expected = talib.WMA(2 * talib.WMA(bars.close, 4) - talib.WMA(bars.close, 9), 3)
    np.testing.assert_allclose(values["hma_9"], expected, rtol=1e-9)
    np.testing.assert_array_equal(values["sma_20"], talib.SMA(bars.close, 20))


@pytest.mark.parametrize("output", ["AROONU_14", 1])
def test_an_output_of_a_pandas_ta_frame_is_chosen_by_name_or_number(output: int | str) -> None:
    bars = random_bars(120)
    column = IndicatorColumn("up", "Aroon up", "percent", "pandas_ta", "aroon", ("high", "low"), {"length": 14}, output)
    _, up = talib.AROON(bars.high, bars.low, 14)
    np.testing.assert_allclose(compute(*bars.columns, columns=[column])["up"], up)


def test_a_pandas_ta_function_that_asks_for_dates_gets_them() -> None:
    bars = random_bars(10)
    column = IndicatorColumn(
        "vwap", "", "price", "pandas_ta", "vwap", ("high", "low", "close", "volume"), {"anchor": "W"}
    )
    dates = np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]")
    values = compute(*bars.columns, dates=dates, columns=[column])["vwap"]
    typical = (bars.high + bars.low + bars.close) / 3
    assert values[2] == pytest.approx((typical * bars.volume)[:3].sum() / bars.volume[:3].sum())
    assert values[7] == pytest.approx(typical[7])


def test_an_instrument_too_young_for_pandas_ta_has_no_values_and_spoils_no_other() -> None:
    bars = random_bars(63)
    column = IndicatorColumn("hma_9", "Hull", "price", "pandas_ta", "hma", ("close",), {"length": 9})
    values = compute_many([0, 3, 63], *bars.columns, columns=[column])["hma_9"]
    assert np.isnan(values[:3]).all()
    assert np.isfinite(values[30:]).all()
    assert np.isnan(compute(*bars[:3].columns, columns=[column])["hma_9"]).all()


@pytest.mark.parametrize("engine", ["talib", "own", "pandas_ta"])
def test_a_function_that_an_engine_lacks_is_named(engine: str) -> None:
    column = IndicatorColumn("wrong", "", "price", engine, "NO_SUCH", ("close",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^wrong: .*NO_SUCH"):
        compute(*random_bars(30).columns, columns=[column])


def test_an_output_that_a_function_lacks_is_named() -> None:
    column = IndicatorColumn("wrong", "", "price", "talib", "MACD", ("close",), {}, 3)
    with pytest.raises(ValueError, match=r"^wrong: MACD has no output 3, only 0, 1, 2$"):
        compute(*random_bars(60).columns, columns=[column])
