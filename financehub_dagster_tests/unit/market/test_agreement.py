"""Prices of one vendor belong to another's series, or are told apart from it."""

from datetime import date, timedelta

import pytest

from financehub_dagster.market.quality.agreement import difference

DAY = date(2024, 5, 6)


def closes(*prices: float, first: date = DAY) -> dict[date, float]:
    return {first + timedelta(days=n): price for n, price in enumerate(prices)}


STORED = closes(5.10, 5.12, 5.16, 5.08)


def times(factor: float, *, first: date = DAY) -> dict[date, float]:
    return closes(*(price * factor for price in STORED.values()), first=first)


@pytest.mark.parametrize(
    "told",
    [
        STORED,
        times(1.01),
        times(0.5),
        times(20),
        times(1 / 3, first=DAY + timedelta(days=4)),
        closes(5.1, 5.13, 900.0),
        times(1.4, first=DAY + timedelta(days=7)),
        times(2.2, first=DAY + timedelta(days=60)),
        times(100.0, first=DAY + timedelta(days=3000)),
        closes(float("nan")),
        {},
    ],
    ids=[
        "the same",
        "another auction",
        "after a split",
        "after a large split",
        "a split the day after",
        "one bad close",
        "a week later",
        "two months later",
        "years later",
        "unknown",
        "nothing",
    ],
)
def test_prices_of_one_series_are_believed(told: dict[date, float]) -> None:
    assert difference(told, STORED) is None
    assert difference(STORED, told) is None


@pytest.mark.parametrize(
    "told",
    [
        times(100),
        times(0.01),
        closes(10.2, 10.2, 10.5, 10.0),
        times(12.6),
        times(1.2),
        times(100, first=DAY + timedelta(days=4)),
        times(100, first=DAY + timedelta(days=300)),
        times(1.75, first=DAY - timedelta(days=8)),
    ],
    ids=[
        "pence",
        "pounds",
        "no constant factor",
        "a receipt",
        "another class",
        "pence the day after",
        "pence a year later",
        "a jump within a week",
    ],
)
def test_prices_of_another_security_or_unit_are_told_apart(told: dict[date, float]) -> None:
    assert difference(told, STORED) is not None
    assert difference(STORED, told) is not None


def test_the_difference_names_both_numbers_and_days() -> None:
    said = str(difference(times(100), STORED))
    assert said.startswith("tells a close of 508 for 2024-05-09, 100 times the stored 5.08 of 2024-05-09")


def test_a_split_that_is_told_may_have_any_factor_and_cryptos_move_more() -> None:
    assert difference(times(1 / 1.13), STORED) is not None
    assert difference(times(1 / 1.13), STORED, [1.13]) is None
    later = times(2.2, first=DAY + timedelta(days=5))
    assert difference(later, STORED) is not None
    assert difference(later, STORED, volatile=True) is None
