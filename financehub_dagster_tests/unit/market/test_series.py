"""Steps between neighbouring closes that no single security makes."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from financehub_dagster.market.quality import series
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_symbols

MONDAY = date(2024, 3, 4)


def bars(*closes: float, symbol: str = "AAPL", pause: int = 0) -> pd.DataFrame:
    """One close a day; `pause` days lie before the last one."""
    days = [MONDAY + timedelta(days=at) for at in range(len(closes))]
    days[-1] += timedelta(days=pause)
    dates = pd.Series(np.array(days, "datetime64[s]"))
    return pd.DataFrame({"symbol": symbol, "date": dates, "close": closes})


def test_steps_are_those_between_bars_of_one_symbol_in_order_of_their_dates() -> None:
    found = series.steps(pd.concat([bars(2.0, 4.0, 1.0)[::-1], bars(100.0, 50.0, symbol="KO")]))
    assert found["factor"].tolist() == [2.0, 0.25, 0.5]
    assert found["symbol"].tolist() == ["AAPL", "AAPL", "KO"]
    assert series.steps(bars(3.0)).empty


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ((6.0, 0.0605, 5.9), [True, True]),  # pounds among pence, and back
        ((450.0, 4.4), [True]),
        ((2.0, 2100.0), [True]),  # dinars among fils
        ((6.0, 60.0, 6.0), [False, False]),
        ((1.0, 50.0), [False]),
    ],
)
def test_a_step_between_two_units_is_told(closes: tuple[float, ...], expected: list[bool]) -> None:
    assert series.unit_steps(series.steps(bars(*closes))).tolist() == expected


@pytest.mark.parametrize(
    ("factor", "pause", "expected"),
    [(180_000.0, 8, True), (1 / 60, 8, True), (180_000.0, 0, False), (40.0, 8, False), (100.0, 8, False)],
)
def test_another_security_is_told_by_a_large_step_after_a_pause(factor: float, pause: int, expected: bool) -> None:
    found = series.steps(bars(0.0001, 0.0001 * factor, pause=pause))
    assert series.other_security_steps(found).tolist() == [expected]


@pytest.mark.parametrize(
    ("ratio", "factor", "day", "expected"),
    [
        (10.0, 0.1, 1, True),
        (2.0, 0.53, 1, True),
        (0.1, 9.6, 1, True),  # a reverse split
        (10.0, 10.2, 1, True),  # applied twice
        (10.0, 1.01, 1, False),
        (2.0, 0.8, 1, False),
        (1.05, 0.952, 1, False),
        (10.0, 0.1, 0, False),  # the step is on the day after
        (10.0, 0.1, 2, False),
    ],
)
def test_a_split_that_was_not_applied_shows_on_its_day(ratio: float, factor: float, day: int, expected: bool) -> None:
    splits = pd.DataFrame(
        {
            "symbol": ["AAPL"],
            "date": pd.Series(np.array([MONDAY + timedelta(days=day)], "datetime64[s]")),
            "value": ratio,
        }
    )
    found = series.split_steps(series.steps(bars(990.0, 990.0 * factor)), splits)
    assert len(found) == expected
    assert found["ratio"].tolist() == [ratio] * expected


@pytest.mark.parametrize("symbol", recorded_symbols())
def test_no_recorded_history_is_suspicious(symbol: str) -> None:
    days = recorded_daily(symbol)
    found = series.steps(
        pd.DataFrame({"symbol": symbol, "date": days.date.astype("datetime64[s]"), "close": days.close})
    )
    assert not series.unit_steps(found).any()
    assert not series.other_security_steps(found).any()
