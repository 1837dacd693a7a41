"""Repairs: real faulty series become their corrected forms, and right series stay as they are."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from financehub_dagster.market.quality import doubts, series_arrays
from financehub_dagster.market.quality.repairs import Repaired, repair
from financehub_dagster_tests.fixtures.faulty_series import Case, injected, real_cases

NO_ONE_ANSWER = {"ADIG-L", "KME-MI"}
"""A payment of another unit than its adjustment: which of both is right is not told."""
REFERENCE_IS_WRONG = {"CLC-L"}


def repaired(case: Case) -> Repaired:
    series = series_arrays.arrange(case.bars, case.actions)
    return repair(series, doubts.judge(series))


REPAIRABLE = [case for case in real_cases() if case.name not in NO_ONE_ANSWER | REFERENCE_IS_WRONG]


@pytest.mark.parametrize("case", REPAIRABLE, ids=lambda case: case.name)
def test_a_real_faulty_series_becomes_its_corrected_form(case: Case) -> None:
    found = repaired(case).columns
    np.testing.assert_allclose(found["close"], case.bars["right_close"], rtol=2e-4)
    np.testing.assert_allclose(found["adj_close"], case.bars["right_adj_close"], rtol=2e-4)


def test_a_price_in_another_unit_that_the_reference_keeps_is_repaired() -> None:
    case = next(each for each in real_cases() if each.name == "CLC-L")
    wrong = (case.bars["close"] < 0.01).to_numpy()
    found = repaired(case).columns
    assert wrong.sum() == 6
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(found[name][wrong], 0.6, rtol=1e-9)


@pytest.mark.parametrize("kind", [0, 1, 2, 8, 9, 10, 11], ids=lambda kind: injected.KINDS[kind].__name__)
@pytest.mark.parametrize("symbol", ["GE", "KO"])
def test_an_error_put_in_is_taken_out_again(kind: int, symbol: str) -> None:
    good = injected.clean(symbol)
    wrong = injected.KINDS[kind](good, 600, np.random.default_rng(kind))
    found = repaired(wrong).columns
    names = ["close", "adj_close"] if kind == 0 else ["open", "high", "low", "close", "adj_close"]
    for name in names:
        np.testing.assert_allclose(found[name], good.bars[name], rtol=1e-4, err_msg=name)


def test_a_right_series_stays_as_it_is() -> None:
    for symbol in ("AAPL", "KO"):
        assert not repaired(injected.clean(symbol)).changed.any()


@pytest.mark.parametrize("share", [1.0, 20.0])
def test_a_payment_as_large_as_the_price_is_not_taken_out(share: float) -> None:
    """No adjusted close would be left: it is a wrong number, or a liquidation."""
    good = injected.clean("KO")
    row = 600
    day, before = good.bars["date"].iloc[row], good.bars["close"].iloc[row - 1]
    payment = pd.DataFrame({"symbol": ["KO"], "date": [day], "kind": ["dividend"], "value": [share * before]})
    wrong = replace(good, actions=pd.concat([good.actions, payment], ignore_index=True))
    series = series_arrays.arrange(wrong.bars, wrong.actions)
    bits = doubts.judge(series)
    assert bits[row] >> doubts.NAMES.index("dividend_not_adjusted") & 1
    np.testing.assert_array_equal(repair(series, bits).columns["adj_close"], good.bars["adj_close"])
