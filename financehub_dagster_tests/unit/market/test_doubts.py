"""Rules about doubtful bars: each finds its error, real series are judged right, and neighbours decide alone."""

import numpy as np
import pandas as pd
import pytest

from financehub_dagster.ingest.history import doubtful
from financehub_dagster.market.quality import doubts, series_arrays
from financehub_dagster.market.quality.series_arrays import PAST
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.faulty_series import HELD_OUT, Case, flags_of, injected, real_cases, score
from financehub_dagster_tests.unit.storage.storage_writes import store

NO_ACTIONS = pd.DataFrame(
    {"symbol": [], "date": pd.to_datetime([]), "kind": [], "value": np.array([], np.float64)}
).astype({"symbol": object, "kind": object})


def case(closes: list[float], actions: pd.DataFrame = NO_ACTIONS, symbol: str = "A") -> Case:
    close = np.array(closes)
    date = np.datetime64("2024-01-01") + np.arange(len(close))
    bars = pd.DataFrame(
        {"symbol": symbol, "date": date, "open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    )
    return Case(symbol, bars.assign(adj_close=close, volume=np.arange(len(close)) + 1000.0), actions)


def quiet(bars: int) -> list[float]:
    return (100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, bars)))).tolist()


def test_real_faulty_series_are_judged_as_their_corrected_forms_say() -> None:
    for held_out in (False, True):
        found = score(case for case in real_cases() if (case.name in HELD_OUT) == held_out)
        assert found.errors.total() == (21 if held_out else 20)
        assert found.recall >= 0.95
        assert found.precision >= 0.9


def test_errors_put_into_series_that_no_threshold_was_set_by_are_found() -> None:
    found = score(injected.cases(held_out=True))
    assert found.errors.total() == 17 * len(injected.KINDS)
    assert found.recall >= 0.95
    assert found.precision >= 0.9
    assert {kind for kind, errors in found.errors.items() if found.named[kind] < 0.9 * errors} == set()


def test_every_flag_is_the_name_of_a_declared_rule_with_a_reason_and_a_source() -> None:
    assert len(set(doubts.NAMES)) == len(doubts.DOUBTS)
    assert all(each.description and each.reason and each.source for each in doubts.DOUBTS)
    assert doubts.names((1 << len(doubts.DOUBTS)) - 1) == doubts.NAMES
    assert doubts.names(0) == ()


@pytest.mark.parametrize("symbol", ["AAPL", "BTC", "GE", "ORCL"])
def test_a_window_is_judged_like_the_whole_history_once_it_has_the_past_before_it(symbol: str) -> None:
    good = injected.clean(symbol)
    wrong = injected.KINDS[3](good, 700, np.random.default_rng(1))
    whole = flags_of(wrong)
    first = 650
    window = wrong.bars.iloc[first - PAST - doubts.BEFORE :]
    part = flags_of(Case(symbol, window.reset_index(drop=True), wrong.actions))
    assert part[PAST + doubts.BEFORE :] == whole[first:]
    assert any(whole[first:])


@pytest.mark.parametrize("kind", range(len(injected.KINDS)))
def test_bars_that_are_written_get_the_flags_of_the_whole_history(kind: int, database: Database) -> None:
    wrong = injected.KINDS[kind](injected.clean("AAPL"), 400, np.random.default_rng(1))
    whole, rows = flags_of(wrong), wrong.bars.assign(source="yahoo", fetched_at=np.datetime64("2026-01-05"))
    store({str(name): rows[name].to_numpy() for name in rows})
    with transaction() as connection:
        for first in range(382, 424, 3):
            asked = rows.iloc[first : first + 5]
            found = doubtful.with_flags(connection, "stock_prices_daily", asked, wrong.actions, ["AAPL"])
            assert [frozenset(flags) for flags in found["flags"]] == whole[first : first + 5]


def test_the_order_and_the_company_of_bars_do_not_matter() -> None:
    one, two = (
        injected.KINDS[kind](injected.clean(symbol), 400, np.random.default_rng(2))
        for kind, symbol in ((1, "AAPL"), (8, "KO"))
    )
    bars = pd.concat([one.bars, two.bars], ignore_index=True).sample(frac=1, random_state=4)
    series = series_arrays.arrange(bars, pd.concat([one.actions, two.actions], ignore_index=True))
    together = dict(zip(series.rows().tolist(), doubts.judge(series).tolist(), strict=True))
    found = {(row.symbol, row.date): doubts.names(together[place]) for place, row in enumerate(bars.itertuples())}
    for each in (one, two):
        alone = flags_of(each)
        assert [frozenset(found[each.name, day]) for day in each.bars["date"]] == alone


def test_a_price_that_changes_its_unit_for_good_is_flagged_where_it_changes() -> None:
    closes = quiet(100)
    flags = flags_of(case([*closes[:60], *(close / 100 for close in closes[60:])]))
    assert [place for place, raised in enumerate(flags) if raised] == [60]
    assert flags[60] == {"unit_100x"}


def test_a_crash_that_does_not_revert_is_no_error() -> None:
    closes = quiet(100)
    assert not any(flags_of(case([*closes[:60], *(close * 0.6 for close in closes[60:])])))


def test_a_share_that_moves_as_much_every_day_has_no_spikes() -> None:
    closes = 100 * np.exp(0.15 * (np.arange(100) % 2))
    assert not any("spike" in raised for raised in flags_of(case(closes.tolist()))[30:])


def test_an_instrument_without_volume_is_not_doubtful_for_it() -> None:
    index = case(quiet(100))
    index = Case("A", index.bars.assign(volume=0.0), NO_ACTIONS)
    assert not any(flags_of(index))


def test_a_payment_with_a_consolidation_does_not_hide_that_the_split_was_applied() -> None:
    closes = quiet(100)
    after = [close * 0.5 for close in closes[60:]]
    paid = closes[59] * 0.5
    day = pd.Timestamp("2024-01-01") + pd.Timedelta(days=60)
    actions = pd.DataFrame({"symbol": "A", "date": day, "kind": ["split", "dividend"], "value": [0.5, paid]})
    series = case([*closes[:60], *after], actions)
    adjusted = series.bars["close"].where(series.bars.index >= 60, series.bars["close"] * 0.5)
    assert not any(flags_of(Case("A", series.bars.assign(adj_close=adjusted), actions)))


def test_nothing_to_judge_is_nothing_found() -> None:
    empty = case([1.0]).bars.iloc[:0]
    assert len(doubts.judge(series_arrays.arrange(empty, NO_ACTIONS))) == 0
    assert doubts.judge(series_arrays.arrange(case([1.0]).bars, NO_ACTIONS)).tolist() == [0]
