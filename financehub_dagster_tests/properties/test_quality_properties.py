"""Whatever vendors send, every row is stored or rejected, no stored bar is impossible, and judging changes no price."""

import math

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from financehub_dagster.market.quality import acceptance, doubts, repairs, series_arrays
from financehub_dagster.tables import TABLES

STOCKS = TABLES["stock_prices_daily"]
PRICES = ("open", "high", "low", "close")

near = st.floats(50, 150)
odd = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-300, 1e300, 1.0, 10_000.0])
number = near | odd
bar = st.fixed_dictionaries(
    {**dict.fromkeys(PRICES, number), "adj_close": number, "volume": st.integers(0, 10**9).map(float) | odd}
)
action = st.tuples(
    st.integers(-5, 45), st.sampled_from(["dividend", "split", "capital_gain"]), st.floats(1e-6, 1e6) | odd
)


def received(bars: list[dict[str, float]]) -> pd.DataFrame:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(bars)) // 2, unit="D")
    return pd.DataFrame(bars, columns=[*PRICES, "adj_close", "volume"], dtype=np.float64).assign(
        symbol=[("A", "B")[row % 2] for row in range(len(bars))],
        date=days.astype("datetime64[s]"),
        source="yahoo",
        fetched_at=pd.Timestamp("2024-03-01", tz="UTC"),
    )


def paid(actions: list[tuple[int, str, float]]) -> pd.DataFrame:
    rows = [("A", pd.Timestamp("2024-01-01") + pd.Timedelta(days=day), kind, value) for day, kind, value in actions]
    frame = pd.DataFrame(rows, columns=["symbol", "date", "kind", "value"])
    return frame.astype({"date": "datetime64[s]", "value": "float64", "symbol": object, "kind": object})


@settings(max_examples=150)
@given(st.lists(bar, min_size=1, max_size=60))
def test_every_row_received_is_taken_or_rejected_and_none_that_is_taken_is_impossible(bars):
    rows = received(bars)
    good, rejected, _ = acceptance.judge(STOCKS.limits, STOCKS.rules, rows)
    assert sorted([*good.index, *rejected.index]) == list(rows.index)
    assert (rejected["rule"] != "").all()
    assert np.isfinite(good[[*PRICES, "volume"]].to_numpy()).all()
    assert (good[list(PRICES)] > 0).all(axis=None)
    assert (good["low"] <= good["high"]).all()
    assert (good["volume"] >= 0).all()
    assert (good["adj_close"].isna() | (good["adj_close"] > 0)).all()


@settings(max_examples=150)
@given(st.lists(bar, min_size=1, max_size=60), st.lists(action, max_size=6))
def test_whatever_is_taken_can_be_judged_and_repaired_and_is_left_as_it_is(bars, actions):
    good, _, _ = acceptance.judge(STOCKS.limits, STOCKS.rules, received(bars))
    before = good.copy(deep=True)
    series = series_arrays.arrange(good, paid(actions))
    bits = doubts.judge(series)
    assert len(bits) == len(good)
    found = repairs.repair(series, bits)
    assert {len(values) for values in found.columns.values()} == {len(good)}
    untouched = ~found.changed
    for name, values in found.columns.items():
        np.testing.assert_array_equal(values[untouched], getattr(series, name)[untouched])
    assert bits.any() or not found.changed.any()
    pd.testing.assert_frame_equal(good, before)
