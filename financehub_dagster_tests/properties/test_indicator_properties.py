"""What holds for indicators of any market whatever."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.market.indicators.columns import INDICATOR_COLUMNS, INDICATORS
from financehub_dagster.market.indicators.engine import compute, compute_many
from financehub_dagster_tests.properties.markets import Bars, end_to_end, histories

BANDS = (
    ("bb_lower", "bb_middle", "bb_upper"),
    ("donchian_lower", "donchian_upper"),
    ("keltner_lower", "keltner_upper"),
)
PRICES = [column.name for column in INDICATORS if column.unit == "price"]
# Ratios of prices: a doubled price leaves them alone.
SCALE_FREE = ["rsi_14", "adx_14", "cci_20", "willr_14", "roc_10", "stoch_k", "stoch_d"]
CAN_BE_UNDEFINED = [column.name for column in INDICATORS if column.undefined is not None]

quickly = settings(max_examples=40)


@quickly
@given(histories(), st.data())
def test_values_over_a_prefix_are_those_over_the_full_history(bars: Bars, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(bars)))
    full, prefix = compute(*bars.columns), compute(*bars[:cut].columns)
    for name in INDICATOR_COLUMNS:
        np.testing.assert_array_equal(prefix[name], full[name][:cut], err_msg=name)


@quickly
@given(st.lists(histories(max_size=120), max_size=6))
def test_many_instruments_at_once_give_what_each_gives_alone(markets: list[Bars]) -> None:
    if not markets:
        markets = [Bars(*[np.empty(0)] * 5)]
    offsets, columns = end_to_end(markets)
    together = compute_many(offsets, *columns)
    for number, bars in enumerate(markets):
        alone = compute(*bars.columns)
        for name in INDICATOR_COLUMNS:
            own = together[name][offsets[number] : offsets[number + 1]]
            np.testing.assert_array_equal(own, alone[name], err_msg=name)


@quickly
@given(histories())
def test_every_column_has_a_value_per_bar_and_no_gap_after_the_warm_up(bars: Bars) -> None:
    for name, values in compute(*bars.columns).items():
        assert values.shape == (len(bars),)
        assert values.dtype == np.float64
        defined = np.isfinite(values)
        assert (np.isnan(values) == ~defined).all(), f"{name} is infinite somewhere"
        if name not in CAN_BE_UNDEFINED:
            assert (np.diff(defined.astype(int)) >= 0).all(), f"{name} is undefined again after its warm-up"


@quickly
@given(histories())
def test_bands_never_cross(bars: Bars) -> None:
    values = compute(*bars.columns)
    for band in BANDS:
        for below, above in pairwise(band):
            defined = np.isfinite(values[below]) & np.isfinite(values[above])
            assert (values[below][defined] <= values[above][defined]).all(), f"{below} above {above}"


@quickly
@given(histories())
def test_bounded_columns_keep_their_bounds(bars: Bars) -> None:
    values = compute(*bars.columns)
    for column in INDICATORS:
        if column.bounds is not None:
            low, high = column.bounds
            defined = values[column.name][np.isfinite(values[column.name])]
            assert ((low - 1e-6 <= defined) & (defined <= high + 1e-6)).all(), column.name


@quickly
@given(histories())
def test_prices_times_two_make_price_indicators_times_two_and_leave_ratios_alone(bars: Bars) -> None:
    # A power of two moves no digit, so that equality can be exact; TA-Lib's zero threshold is the only absolute number.
    once = compute(*bars.columns)
    twice = compute(2 * bars.open, 2 * bars.high, 2 * bars.low, 2 * bars.close, bars.volume)
    for name in PRICES:
        np.testing.assert_allclose(twice[name], 2 * once[name], rtol=1e-12, atol=1e-9, err_msg=name)
    if len(bars) and bars.close.std() > 1:
        for name in SCALE_FREE:
            np.testing.assert_allclose(twice[name], once[name], rtol=1e-9, atol=1e-6, err_msg=name)


@quickly
@given(histories())
def test_the_macd_histogram_is_the_distance_of_its_two_lines(bars: Bars) -> None:
    values = compute(*bars.columns)
    np.testing.assert_allclose(values["macd_hist"], values["macd"] - values["macd_signal"], rtol=0, atol=1e-9)


@quickly
@given(histories(), st.sampled_from(["open", "high", "low", "close", "volume"]), st.sampled_from([np.nan, np.inf]))
def test_a_bar_that_is_not_finite_is_refused_by_name(bars: Bars, column: str, value: float) -> None:
    if not len(bars):
        return
    broken = {name: array.copy() for name, array in vars(bars).items()}
    broken[column][len(bars) // 2] = value
    with pytest.raises(ValueError, match=f"^{column} of row {len(bars) // 2} is not finite"):
        compute(**broken)
