"""Comparing two vendors' bars: what differs, of which kind, and who is off."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from financehub_dagster.market.quality.reconciliation import compare, odd_one_out, rotation


def bars(days: int = 20, **changes: float) -> pd.DataFrame:
    close = 100 + np.arange(days, dtype=float)
    frame = pd.DataFrame(
        {
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(days), unit="D"),
            "open": close - 1,
            "high": close + 2,
            "low": close - 2,
            "close": close,
            "volume": 1000.0,
        }
    )
    for name, factor in changes.items():
        frame[name] = frame[name].where(frame.index != 7, frame[name] * factor)
    return frame


def test_equal_bars_have_no_discrepancy_and_every_value_counts() -> None:
    assert compare(bars(), bars()) == ([], dict.fromkeys(("open", "high", "low", "close", "volume"), 20))


def test_small_differences_are_tolerated_and_larger_ones_named() -> None:
    assert compare(bars(), bars(open=1.005, high=1.005, close=1.003, volume=1.9))[0] == []
    found, _ = compare(bars(), bars(close=1.02, volume=4))
    assert [(each.date, each.column, each.kind) for each in found] == [
        (date(2024, 1, 8), "close", "value"),
        (date(2024, 1, 8), "volume", "value"),
    ]
    assert found[0].told == pytest.approx(found[0].stored * 1.02)


@pytest.mark.parametrize(("factor", "kind"), [(0.25, "basis"), (100.0, "unit"), (0.01, "unit")])
def test_a_series_on_another_basis_is_one_discrepancy(factor: float, kind: str) -> None:
    told = bars()
    told[["open", "high", "low", "close"]] *= factor
    found, _ = compare(bars(), told)
    assert [(each.date, each.kind) for each in found] == [(date(2024, 1, 20), kind)]


def test_sessions_that_one_vendor_lacks_and_volumes_of_nothing_are_not_compared() -> None:
    told = bars().iloc[5:].assign(volume=0.0)
    found, compared = compare(bars(), told)
    assert found == []
    assert (compared["close"], compared["volume"]) == (15, 0)
    assert compare(bars(), bars().iloc[:0])[1]["close"] == 0


def test_volumes_that_vendors_count_of_different_markets_are_not_compared() -> None:
    told = bars(close=1.02).assign(volume=30_000.0)
    found, compared = compare(bars(), told, volumes=False)
    assert [each.column for each in found] == ["close"]
    assert (compared["close"], compared["volume"]) == (20, 0)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ((100.0, 102.0, 100.1), 1),
        ((100.0, 102.0, 102.1), 0),
        ((100.0, 100.1, 103.0), 2),
        ((100.0, 102.0, 105.0), None),
        ((100.0, 100.0, 100.0), None),
    ],
)
def test_of_three_vendors_the_one_that_two_disagree_with_is_off(values, place) -> None:
    assert odd_one_out("close", *values) == place


def test_every_instrument_has_its_turn_before_any_comes_again() -> None:
    symbols = [f"S{number:02d}" for number in range(20)]
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(4)]
    turns = [rotation(symbols, day, 5) for day in days]
    assert sorted(symbol for turn in turns for symbol in turn) == symbols
    assert rotation(symbols, days[0], 5) == turns[0]
    assert rotation(symbols[:3], days[0], 5) == symbols[:3]
    assert rotation([], days[0], 5) == []
