"""Every float32 gets its shortest decimal back, and every price its own digits."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from financehub_dagster.market.bars import shortest_float32

singles = hn.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


@given(singles)
def test_the_result_is_the_shortest_decimal_that_is_this_float32(values: np.ndarray) -> None:
    expected = np.array([float(str(value)) for value in values], dtype=np.float64)
    np.testing.assert_array_equal(shortest_float32(values.astype(np.float64)), expected)


@given(st.lists(st.decimals("0.0001", "99999", places=2).filter(lambda price: price < 99999), max_size=50))
def test_prices_of_up_to_seven_digits_survive_the_way_through_float32(prices: list[object]) -> None:
    expected = np.array([float(str(price)) for price in prices], dtype=np.float64)
    vendor = expected.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(shortest_float32(vendor), expected)


def test_neighbours_of_powers_of_ten_are_not_confused() -> None:
    powers = np.float32(10.0) ** np.arange(-44, 39, dtype=np.float32)
    around = np.concatenate([powers, np.nextafter(powers, np.float32(0)), np.nextafter(powers, np.float32(np.inf))])
    expected = np.array([float(str(value)) for value in around])
    np.testing.assert_array_equal(shortest_float32(around), expected)


def test_a_price_as_recorded_from_yahoo_is_read_as_it_was_meant() -> None:
    assert shortest_float32([[239.64999389648438], [13.237000465393066]]).tolist() == [[239.65], [13.237]]
    assert shortest_float32(0.1).shape == ()
