"""Position sizes, computed by hand."""

import numpy as np
import pytest

from financehub_dagster.market.position_sizing import Sizing, position_sizes

STOCK, COIN = np.array([True]), np.array([False])


def sizes(price: float, atr: float, whole=STOCK, equity: float = 100_000.0):
    found = position_sizes(equity, np.array([price]), np.array([atr]), whole)
    return found.fraction_units[0], found.stop[0], found.risk_units[0]


def test_a_stock_of_123_with_a_range_of_4():
    # 5 % of 100,000 buys 40.65 units; 1 % of it is lost over 8 by 125 units.
    assert sizes(123.0, 4.0) == (40, 115.0, 125)


def test_an_exact_number_of_units_is_not_rounded_down_to_one_less():
    """In decimals every pair of these prices and fractions makes a whole number, though some products do not."""
    prices = np.array([0.75, 1.5, 3.0, 6.0])
    for fraction in (0.03, 0.15, 0.3):
        found = position_sizes(1_000.0, prices, prices, np.ones(4, bool), Sizing(fraction=fraction))
        assert found.fraction_units.tolist() == [round(fraction * 1_000 / price) for price in prices]


def test_cryptos_are_bought_in_fractions():
    fraction, stop, risk = sizes(60_000.0, 1_500.0, COIN)
    assert (fraction, stop, risk) == pytest.approx((5_000 / 60_000, 57_000.0, 1_000 / 3_000))


def test_a_quiet_instrument_is_not_bought_beyond_the_equity():
    assert sizes(100.0, 0.001)[2] == 1_000


def test_a_stop_below_zero_risks_the_price_and_no_more():
    _, stop, risk = sizes(10.0, 8.0)
    assert stop == -6.0
    assert risk == 100


@pytest.mark.parametrize("atr", [np.nan, 0.0])
def test_without_a_range_there_is_no_stop(atr):
    fraction, stop, risk = sizes(123.0, atr)
    assert fraction == 40
    assert np.isnan(stop)
    assert np.isnan(risk)
