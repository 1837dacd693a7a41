"""Prices in pence and cents become pounds and rands to the last digit."""

import numpy as np
import pytest

from financehub_dagster.market.currencies import scaled, scaled_all, unit_of


@pytest.mark.parametrize(
    ("code", "unit"),
    [("GBp", ("GBP", -2)), ("GBX", ("GBP", -2)), ("ZAc", ("ZAR", -2)), ("ILA", ("ILS", -2)), ("USD", ("USD", 0))],
)
def test_minor_units_are_parts_of_a_currency_and_currencies_are_their_own(code: str, unit: tuple[str, int]) -> None:
    assert unit_of(code) == unit


def test_moving_the_decimal_point_keeps_every_digit() -> None:
    pounds = scaled_all([float(f"{n}.{n % 100:02d}") for n in range(100, 20_000)], -2)
    assert [repr(value) for value in pounds.tolist()] == [
        repr(float(f"{n // 100}.{n % 100:02d}{n % 100:02d}")) for n in range(100, 20_000)
    ]
    assert scaled(602.55, -2) == 6.0255


def test_what_is_unknown_stays_unknown() -> None:
    moved = scaled_all(np.array([[512.4, np.nan], [0.0, 1e-7]]), -2)
    assert np.isnan(moved[0, 1])
    assert moved[[0, 1, 1], [0, 0, 1]].tolist() == [5.124, 0.0, 1e-9]
    assert scaled(7.5, 0) == 7.5
