"""Bars that no table accepts are told from those it does, with the rule they break."""

import numpy as np
import pandas as pd
import pytest

from financehub_dagster.market.quality.bar_rules import DOUBTS, RULES, judge
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_symbols

GOOD = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "adj_close": 10.5, "volume": 100.0}


def frame(**changes: object) -> pd.DataFrame:
    return pd.DataFrame([{"symbol": "AAPL", "date": pd.Timestamp("2024-01-02"), **GOOD, **changes}])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"open": np.nan}, "finite"),
        ({"volume": np.inf}, "finite"),
        ({"close": None}, "finite"),
        ({"low": 0.0}, "positive"),
        ({"open": -10.0, "low": -11.0}, "positive"),
        ({"low": 11.2, "open": 10.0}, "ordered"),
        ({"high": 9.8}, "ordered"),
        ({"low": 12.5}, "ordered"),
        ({"volume": -1.0}, "volume_not_negative"),
        ({"adj_close": -np.inf}, "adj_close_finite"),
        ({"close": -1.0, "volume": -1.0}, "positive"),
    ],
)
def test_a_wrong_bar_is_rejected_by_the_first_rule_it_breaks(changes: dict[str, object], rule: str) -> None:
    good, rejected = judge(frame(**changes))
    assert len(good) == 0
    assert rejected["rule"].tolist() == [rule]
    assert rejected["symbol"].tolist() == ["AAPL"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"volume": 0.0},
        {"adj_close": None},
        {"open": 9.0, "close": 12.0},
        {"open": 5.0, "high": 5.0, "low": 5.0, "close": 5.0},
        {"open": 1e-9, "high": 1e-9, "low": 1e-9, "close": 1e-9},
    ],
)
def test_a_bar_at_the_edge_of_the_rules_is_good(changes: dict[str, object]) -> None:
    good, rejected = judge(frame(**changes))
    assert (len(good), len(rejected)) == (1, 0)
    assert "rule" not in good


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"open": 209.42, "high": 210.47, "low": 209.85, "close": 210.22}, "doubtful"),  # SPY, 2015-03-05, Yahoo
        ({"open": 0.68, "high": 0.64125, "low": 0.62, "close": 0.635}, "doubtful"),  # ELCO.L, 2022-10-07, Yahoo
        ({"open": 0.6, "high": 0.5, "low": 0.5, "close": 0.6}, "impossible"),  # CLC.L, 2024-06-10, Yahoo
        ({"low": 10.5}, "doubtful"),
        ({"high": 10.9}, "doubtful"),
        ({"low": 12.0, "high": 11.9}, "impossible"),
        ({"open": 1100.0}, "impossible"),
        ({"open": 5.5}, "impossible"),
        ({}, "sure"),
    ],
)
def test_a_bar_is_in_doubt_where_open_or_close_lies_a_little_outside(changes: dict[str, object], found: str) -> None:
    possible, rejected = judge(frame(**changes))
    sure, doubtful = judge(possible, DOUBTS)
    assert {"impossible": len(rejected), "doubtful": len(doubtful), "sure": len(sure)}[found] == 1
    assert doubtful["rule"].tolist() == ["outside_range"] * len(doubtful)


def test_good_rows_keep_their_columns_index_and_order() -> None:
    bars = pd.concat([frame(), frame(high=1.0), frame(open=9.5)]).set_axis([7, 8, 9])
    good, rejected = judge(bars)
    pd.testing.assert_frame_equal(good, bars.loc[[7, 9]])
    assert rejected.index.tolist() == [8]


def test_every_rule_is_broken_by_a_bar_of_these_tests_and_named_once() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert set(names) == {"finite", "positive", "ordered", "volume_not_negative", "adj_close_finite"}


def test_no_bars_are_neither_good_nor_wrong() -> None:
    good, rejected = judge(frame().iloc[:0])
    assert (len(good), len(rejected)) == (0, 0)
    assert "rule" in rejected


def test_bars_without_an_adjusted_close_are_judged_too() -> None:
    good, _ = judge(frame().drop(columns="adj_close"))
    assert len(good) == 1


@pytest.mark.parametrize("symbol", recorded_symbols())
def test_every_recorded_bar_is_good(symbol: str) -> None:
    days = recorded_daily(symbol)
    names = ("open", "high", "low", "close", "volume")
    _, rejected = judge(pd.DataFrame({name: getattr(days, name) for name in names}))
    assert rejected.empty, rejected.to_string()
