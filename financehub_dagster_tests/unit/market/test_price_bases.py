"""Prices as traded and fully adjusted: to the cent on real series, equal to a slow, plain reference on random ones."""

import csv
import gzip
from datetime import date, timedelta
from functools import cache
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from financehub_dagster.market import price_bases

SPLITS = {
    "AAPL": {date(2014, 6, 9): 7.0, date(2020, 8, 31): 4.0},
    "NVDA": {date(2021, 7, 20): 4.0, date(2024, 6, 10): 10.0},
    "GE": {date(2021, 8, 2): 0.125},
    "TSLA": {date(2020, 8, 31): 5.0, date(2022, 8, 25): 3.0},
}
"""Real splits, by ex-date (the companies' own announcements)."""
RECORDED_ON = date(2018, 2, 7)
"""The recorded series are adjusted for the splits until then."""


@cache
def recorded(symbol: str) -> tuple[np.ndarray, np.ndarray]:
    """The days and closes of a recorded series, as its source has them."""
    packed = files("financehub_dagster.sandbox.data").joinpath("stocks_daily.csv.gz").read_bytes()
    rows = [row for row in csv.DictReader(gzip.decompress(packed).decode().splitlines()) if row["symbol"] == symbol]
    return np.array([row["date"] for row in rows], "M8[D]"), np.array([float(row["close"]) for row in rows])


def factors(symbol: str, days: np.ndarray, *, since: date = date.min) -> np.ndarray:
    splits = {day: ratio for day, ratio in SPLITS[symbol].items() if day > since}
    return price_bases.split_factors(days, np.array(list(splits), "M8[D]"), np.array(list(splits.values())))


@pytest.mark.parametrize("symbol", ["AAPL", "NVDA", "GE"])
def test_a_recorded_series_comes_back_from_the_basis_of_later_splits(symbol: str) -> None:
    """Yahoo serves it as float32, with all later splits divided out."""
    days, closes = recorded(symbol)
    later = factors(symbol, days, since=RECORDED_ON)
    assert len(set(later)) == 1
    assert later[0] != 1
    stored = (closes / later).astype(np.float32).astype(np.float64)
    assert price_bases.as_traded(stored, later).tolist() == closes.tolist()


@pytest.mark.parametrize(
    ("symbol", "day", "stored", "traded"),
    [
        # The last close before each split, as exchanges reported it, from Yahoo's split-adjusted series.
        ("AAPL", "2014-06-06", 23.056072235107422, 645.57),
        ("AAPL", "2014-06-09", 23.424999237060547, 93.70),
        ("AAPL", "2020-08-28", 124.80750274658203, 499.23),
        ("NVDA", "2021-07-19", 18.779750823974609, 751.19),
        ("NVDA", "2024-06-07", 120.88800048828125, 1208.88),
        ("TSLA", "2020-08-28", 147.55999755859375, 2213.40),
        ("TSLA", "2022-08-24", 297.09667968750000, 891.29),
        ("GE", "2021-07-30", 103.59999847412109, 12.95),
    ],
)
def test_closes_before_real_splits_are_exact_to_the_cent(symbol: str, day: str, stored: float, traded: float) -> None:
    days = np.array([day], "M8[D]")
    assert price_bases.as_traded(np.array([stored]), factors(symbol, days)).tolist() == [traded]


def test_the_recorded_close_before_apples_split_is_what_was_paid() -> None:
    """Four decimals of an adjusted price are enough for the cents of the price that was paid."""
    days, closes = recorded("AAPL")
    own = {day: ratio for day, ratio in SPLITS["AAPL"].items() if day <= RECORDED_ON}
    found = price_bases.as_traded(
        closes, price_bases.split_factors(days, np.array(list(own), "M8[D]"), np.array(list(own.values())))
    )
    at = int(np.searchsorted(days, np.datetime64("2014-06-06")))
    assert found[at : at + 2].tolist() == [645.57, 93.7]


DAY = st.integers(0, 60).map(lambda number: date(2024, 1, 1) + timedelta(days=number))
RATIO = st.sampled_from([2.0, 3.0, 7.0, 1.5, 0.5, 0.125, 0.1, 20.0])
TRADED = st.decimals("0.01", "5000", places=2).map(float)


@given(st.dictionaries(DAY, RATIO, max_size=5), st.dictionaries(DAY, TRADED, min_size=1, max_size=30), st.booleans())
def test_traded_prices_from_random_splits_equal_a_slow_plain_reference(
    splits: dict[date, float], traded: dict[date, float], as_float32: bool
) -> None:
    """Adjusted one split after the other as a vendor does it, and read back, every price is what it was."""
    stored, volumes = [], []
    for day, price in traded.items():
        value, volume = price, 1000.0
        for ex_date, ratio in splits.items():
            if ex_date > day:
                value, volume = value / ratio, volume * ratio
        stored.append(float(np.float32(value)) if as_float32 else value)
        volumes.append(volume)
    days = np.array(list(traded), "M8[D]")
    found = price_bases.split_factors(days, np.array(list(splits), "M8[D]"), np.array(list(splits.values()), float))
    prices = price_bases.as_traded(np.array(stored), found)
    expected = np.array(list(traded.values()))
    untouched = found == 1
    assert prices[~untouched].tolist() == expected[~untouched].tolist()
    assert prices[untouched].tolist() == np.array(stored)[untouched].tolist()
    assert price_bases.shares_traded(np.array(volumes), found) == pytest.approx([1000.0] * len(volumes), abs=1e-6)


@given(st.lists(st.tuples(TRADED, st.sampled_from([0.0, 0.0, 0.25, 1.0])), min_size=2, max_size=30))
def test_adjusted_prices_from_random_dividends_equal_a_slow_plain_reference(bars: list[tuple[float, float]]) -> None:
    """Every dividend is taken out of all earlier prices: open and close of a day keep their ratio."""
    close = np.array([price + 2 for price, _ in bars])
    opened = close * 1.01
    adjusted, opens = close.copy(), opened.copy()
    for at, (_, dividend) in enumerate(bars):
        if at and dividend:
            factor = 1 - dividend / close[at - 1]
            adjusted[:at] *= factor
            opens[:at] *= factor
    found = price_bases.fully_adjusted(opened, close, adjusted)
    assert found == pytest.approx(opens, rel=1e-12)


def test_where_the_adjusted_close_is_unknown_so_are_the_adjusted_prices() -> None:
    found = price_bases.fully_adjusted(np.array([2.0, 2.0]), np.array([1.0, 1.0]), np.array([0.5, np.nan]))
    assert found[0] == 1.0
    assert np.isnan(found[1])
