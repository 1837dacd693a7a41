"""Of which kind a vendor's error is, and whose: by rules, by comparing, and by what a third vendor has."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from financehub_dagster.market.quality import bar_rules, doubts
from financehub_dagster.market.quality.vendor_errors import (
    NAMES,
    Finding,
    by_comparison,
    by_rules,
    column_of,
    kind_of,
    payments_on_other_days,
    same_payments,
    together,
)
from financehub_dagster.operations.vendor_errors import kinds_as_markdown
from financehub_dagster_tests.fixtures.folder import REPOSITORY
from financehub_dagster_tests.unit.market.test_reconciliation import bars

NO_SPLITS = pd.DataFrame({"date": np.array([], "datetime64[s]"), "value": []})
PRICES = ["open", "high", "low", "close"]


def scaled(by: Any, first: int = 0, last: int = 20) -> pd.DataFrame:
    """Bars with the prices of some of them multiplied."""
    frame = bars()
    chosen = (frame.index >= first) & (frame.index < last)
    return frame.assign(**{name: frame[name].where(~chosen, frame[name] * by) for name in PRICES})


def compared(told: pd.DataFrame, third: pd.DataFrame | None = None, splits: pd.DataFrame = NO_SPLITS) -> list[Finding]:
    return by_comparison(bars().assign(source="yahoo"), "other", told, third, splits)


def summary(found: list[Finding]) -> set[tuple[str, str, bool, int]]:
    return {
        (*key, sum((each.vendor, each.kind, each.decided) == key for each in found))
        for key in {(each.vendor, each.kind, each.decided) for each in found}
    }


def test_every_rule_about_bars_is_of_a_kind_but_for_what_a_double_cannot_hold() -> None:
    rules = {*doubts.NAMES, *(rule.name for rule in bar_rules.RULES)}
    assert {rule for rule in rules if kind_of(rule) is None} == {"volume_rounded"}
    assert [kind_of(rule) for rule in ("close_positive", "adj_close_finite", "volume_not_negative", "other")] == [
        "negative", "unreadable", "negative", None,
    ]  # fmt: skip
    assert len(set(NAMES)) == len(NAMES)


def test_the_page_on_quality_has_every_kind_as_it_is_declared() -> None:
    assert kinds_as_markdown() in (REPOSITORY / "docs/quality.md").read_text()


@pytest.mark.parametrize(
    ("told", "kind", "count"),
    [
        (scaled(100.0), "unit", 20),
        (scaled(0.01, 4, 6), "unit", 2),
        (scaled(0.25, 0, 12), "split", 12),
        (scaled(1.07), "basis", 20),
        (scaled(1.03, 4, 5), "close", 1),
        (scaled(2 + np.arange(20.0) % 5), "other_instrument", 20),
        (bars().assign(**{name: bars()[name].shift(1, fill_value=98.0) for name in PRICES}), "shifted", 20),
        (bars(high=1.05), "range", 1),
        (bars(volume=8.0), "volume", 1),
    ],
)
def test_a_difference_is_of_one_kind_and_the_vendors_whom_two_others_contradict(told, kind, count) -> None:
    assert summary(compared(told, bars())) == {("other", kind, True, count)}
    assert summary(compared(told, told)) == {("yahoo", kind, True, count)}
    assert summary(compared(told)) == {("yahoo", kind, False, count), ("other", kind, False, count)}
    assert compared(bars(), bars()) == []


def test_a_known_split_explains_even_a_few_closes() -> None:
    known = pd.DataFrame({"date": [pd.Timestamp("2024-01-03")], "value": [1.25]})
    assert summary(compared(scaled(1.25, 0, 2), bars())) == {("other", "close", True, 2)}
    assert summary(compared(scaled(1.25, 0, 2), bars(), known)) == {("other", "split", True, 2)}


def test_what_a_rule_presumes_is_disproved_by_another_vendor_with_the_same_price() -> None:
    crash = [(date(2024, 1, 8), "spike", "close", 107.0)]
    assert by_rules("other", crash, bars(), "yahoo") == []
    assert [each.kind for each in by_rules("other", crash, bars(close=1.4), "yahoo")] == ["spike"]
    assert by_rules("other", crash, bars(close=1.4), "yahoo", bars()) == []
    assert by_rules("other", crash, bars(close=1.03), "yahoo") == [], "it has made the same move"
    stale = [(date(2024, 1, 8), "stale", "close", 107.0)]
    assert [each.kind for each in by_rules("other", stale, bars(close=1.003), "yahoo")] == ["stale"]
    outside = [(date(2024, 1, 8), "outside_range", "close", 107.0)]
    assert [each.kind for each in by_rules("other", outside, bars(), "yahoo")] == ["disordered"]


def test_a_high_or_low_in_another_unit_is_one_though_the_close_is_right() -> None:
    right, day = bars().to_dict("records")[7], date(2024, 1, 8)
    assert column_of("unit_100x", right) == "close"
    for name, factor in (("high", 100.0), ("low", 0.01)):
        bar = {**right, name: right[name] * factor}
        assert column_of("unit_100x", bar) == name
        [found] = by_rules("other", [(day, "unit_100x", name, bar[name])], bars(), "yahoo")
        assert (found.kind, found.decided, found.told, found.other) == ("unit", True, bar[name], right[name])


def test_what_a_rule_presumes_is_not_decided_where_no_other_vendor_has_the_bar() -> None:
    without = bars().drop(index=7)
    for rule, decided in (("spike", False), ("stale", False), ("no_volume", False), ("split_not_applied", True)):
        [found] = by_rules("other", [(date(2024, 1, 8), rule, "close", 107.0)], without, "yahoo")
        assert (found.decided, found.told, found.other) == (decided, 107.0, None)
    [found] = by_rules("other", [(date(2024, 1, 8), "spike", "close", 150.0)], without, "yahoo", bars())
    assert (found.decided, found.other) == (True, None)


def test_a_payment_that_two_vendors_have_was_paid_though_the_price_did_not_fall() -> None:
    days = pd.to_datetime(["2024-01-08", "2024-01-09", "2024-01-10"])
    one = pd.DataFrame({"date": days, "kind": ["dividend", "dividend", "split"], "value": [0.5, 0.5, 2.0]})
    other = one.assign(value=[0.501, 0.6, 2.0])
    paid = same_payments(one, other)
    assert paid == {date(2024, 1, 8)}
    assert same_payments(one, one.iloc[:0]) == set()
    broken = [(day.date(), "dividend_not_in_price", "adj_close", 107.0) for day in days[:2]]
    broken += [(date(2024, 1, 8), "dividend_not_adjusted", "adj_close", 107.0)]
    found = by_rules("other", broken, bars().assign(adj_close=1.0), "yahoo", None, paid)
    assert [each.date for each in found] == [date(2024, 1, 9), date(2024, 1, 8)]
    [shown] = by_rules("other", broken[:1], bars().assign(adj_close=1.0), "yahoo")
    assert shown.kind == "dividend"


def test_a_vendor_without_adjusted_closes_has_none_to_show() -> None:
    none = pd.Series([None] * 20, dtype=object)
    [found] = by_rules(
        "other",
        [(date(2024, 1, 8), "dividend_mismatch", "adj_close", 107.0)],
        bars().assign(adj_close=none),
        "yahoo",
        bars().assign(adj_close=np.nan),
    )
    assert (found.kind, found.decided, found.told, found.other) == ("dividend", True, 107.0, None)


def test_volumes_that_vendors_count_of_different_markets_are_no_errors() -> None:
    told = bars(close=1.03).assign(volume=30_000.0)
    found = by_comparison(bars().assign(source="binance"), "yahoo", told, bars(), NO_SPLITS, volumes=False)
    assert summary(found) == {("yahoo", "close", True, 1)}


def test_a_bar_with_an_error_by_a_rule_is_no_second_difference_of_either_vendor() -> None:
    rules = by_rules(
        "other", [(date(2024, 1, 8), name, "close", 200.0) for name in ("spike", "unit_100x")], bars(), "yahoo"
    )
    found = together(rules, compared(scaled(1.9, 7, 8)))
    assert [(each.vendor, each.kind) for each in found] == [("other", "unit")]


def test_a_payment_on_two_days_is_the_error_of_whom_a_third_vendor_contradicts() -> None:
    def paid(day: str) -> pd.DataFrame:
        frame = {"date": [pd.Timestamp(day)], "kind": ["dividend"], "value": [0.5], "source": ["yahoo"]}
        return pd.DataFrame(frame)

    first, other = paid("2024-01-08"), paid("2024-01-10")
    assert payments_on_other_days(first, "other", paid("2024-01-08"), None) == []
    split = paid("2024-01-08").assign(kind="split", value=2.0)
    assert {each.decided for each in payments_on_other_days(first, "other", other, split)} == {False}
    for third, vendors in ((None, ["yahoo", "other"]), (first, ["other"]), (other, ["yahoo"])):
        found = payments_on_other_days(first, "other", other, third)
        assert [each.vendor for each in found] == vendors
        assert {each.decided for each in found} == {third is not None}
