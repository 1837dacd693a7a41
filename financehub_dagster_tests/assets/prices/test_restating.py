"""Splits and dividends told after earlier prices were stored: every stored price and adjusted close on one basis."""

import json
from dataclasses import replace
from datetime import date

import pytest

from financehub_dagster.market import calendars
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.assets.prices.routed import fetch_from, with_keys
from financehub_dagster_tests.assets.prices.scripted_yahoo import (
    STOCK,
    SYMBOL,
    ScriptedYahoo,
    Series,
    is_of,
    session,
    while_answering,
)
from financehub_dagster_tests.contracts.scripted import Answer

TABLE = "stock_prices_daily"
EX, NEXT = session(10, 4), session(11, 4)


@pytest.mark.parametrize("ex", [EX, session(19, 3)], ids=["in the window", "told late, before it"])
def test_a_dividend_restates_every_adjusted_close_with_one_call_more(yahoo: ScriptedYahoo, ex: date) -> None:
    yahoo.run("02", "03")
    series = Series(dividends={ex: 2.0})
    yahoo.tells(series)
    outcome = yahoo.run("04")
    assert len(yahoo.vendor.asked) == 2
    assert outcome["restated_after_dividend"] == SYMBOL
    is_of(yahoo, series)
    assert yahoo.actions() == [(ex, "dividend", 2.0)]
    changed = yahoo.platform.scalar("select count(*) from price_revisions")
    assert changed == len([day for day in yahoo.stored("close") if day < min(ex, date(2024, 4, 1))])
    yahoo.tells(series)
    again = yahoo.run("04")
    assert len(yahoo.vendor.asked) == 1
    assert (again["rows_inserted"], again["rows_updated"]) == (0, 0)
    assert yahoo.platform.scalar("select count(*) from price_revisions") == changed


def test_an_upgrade_has_a_stale_history_fetched_again_and_leaves_a_sound_one_alone(yahoo: ScriptedYahoo) -> None:
    """Stale is what was stored before dividends were watched."""
    series = Series(dividends={session(10): 2.0}, splits={session(3): 3.0}, real_splits={session(3): 3.0})
    yahoo.tells(series)
    yahoo.run("01", "03")
    for table in ("instruments", TABLE, "corporate_actions"):
        own = "jsonb_build_object('symbol', 'SOUND', 'permanent_id', gen_random_uuid())"
        copy = f"(jsonb_populate_record(row, {own})).*"
        yahoo.platform.execute(f"insert into {table} select {copy} from {table} row where symbol = '{SYMBOL}'")
    url = yahoo.platform.engine.url
    migrations.downgrade(url, "0009")
    yahoo.platform.execute(f"update {TABLE} set adj_close = close where date < '2024-02-20' and symbol = '{SYMBOL}'")
    migrations.upgrade(url)
    stale = f"select symbol from dirty_marks where table_name = '{TABLE}' and dirty_from is not null"
    assert yahoo.platform.rows(stale) == [(SYMBOL,)]
    yahoo.platform.execute(f"delete from {TABLE} where symbol = 'SOUND'")
    yahoo.tells(series)
    yahoo.run("04")
    assert len(yahoo.vendor.asked) == 2
    is_of(yahoo, series)
    assert yahoo.platform.rows(stale) == []


def test_a_fallback_adds_no_adjusted_close_of_another_basis(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(platform, monkeypatch, "alpha_vantage")
    platform.run(TABLE, "2019-03-01", symbols=["KO"])
    fetch_from(platform, ["alpha_vantage"], "2019-04-01", ["KO"])
    known = "select bool_and(adj_close is not null) from stock_prices_daily where source = 'alpha_vantage'"
    assert platform.scalar(known) is True
    platform.execute("update stock_prices_daily set adj_close = adj_close * 1.02 where source = 'yahoo'")
    fetch_from(platform, ["alpha_vantage"], "2019-04-01", ["KO"])
    assert platform.scalar(
        "select bool_or(adj_close is not null) from stock_prices_daily where date > '2019-04-01'"
    ) is (False)
    platform.run(TABLE, "2019-04-01", symbols=["KO"])
    ratios = "select max(adj_close / close) - min(adj_close / close) from stock_prices_daily"
    assert platform.scalar("select count(*) from stock_prices_daily where source <> 'yahoo'") == 0
    assert float(str(platform.scalar(ratios))) < 0.02
    get_settings.cache_clear()


def test_months_of_a_history_with_dividends_cost_one_call_each(yahoo: ScriptedYahoo) -> None:
    series = Series(dividends={session(10, month): 1.5 for month in (1, 2, 3, 4)}, splits={session(5, 2): 2.0})
    series.real_splits = series.splits
    yahoo.tells(series)
    for month in ("03", "04", "02", "01"):
        yahoo.run(month)
    assert len(yahoo.vendor.asked) == 4
    is_of(yahoo, series)
    assert yahoo.platform.scalar("select count(*) from price_revisions") == 0


def test_a_dividend_in_the_gap_between_stored_months_is_noticed_on_a_later_day(yahoo: ScriptedYahoo) -> None:
    yahoo.run("01")
    yahoo.a_day_passes()
    series = Series(dividends={session(10, 2): 2.0})
    yahoo.tells(series)
    yahoo.run("04")
    is_of(yahoo, series)


def test_a_dividend_told_before_the_vendor_adjusts_leaves_adjusted_closes_unknown_until_it_does(
    yahoo: ScriptedYahoo,
) -> None:
    yahoo.run("02", "03")
    yahoo.tells(Series(dividends={EX: 2.0}, paid=[]))
    yahoo.run("04")
    unknown = yahoo.platform.rows("select date from stock_prices_daily where adj_close is null order by date")
    assert unknown == [(day,) for day in sorted(yahoo.stored("close")) if day < EX]
    series = Series(dividends={EX: 2.0})
    yahoo.tells(series)
    yahoo.run("04")
    assert len(yahoo.vendor.asked) == 2
    is_of(yahoo, series)


def test_what_another_run_restated_meanwhile_is_not_mixed_with_the_old_basis(yahoo: ScriptedYahoo) -> None:
    yahoo.run("02", "03")
    halve = "update stock_prices_daily set adj_close = adj_close / 2"
    while_answering(yahoo.vendor, lambda: yahoo.platform.execute(halve))
    outcome = yahoo.platform.run(TABLE, "2024-04-01", symbols=[SYMBOL])
    assert not outcome.success
    assert "another run restated its history meanwhile" in str(outcome.error)
    assert max(yahoo.stored("date")) < date(2024, 4, 1)


def test_an_instrument_that_another_run_restated_meanwhile_costs_no_other_anything(yahoo: ScriptedYahoo) -> None:
    with yahoo.platform.engine.begin() as connection:
        upsert_instruments(connection, [replace(STOCK, symbol="OTHER")])
    told = json.dumps(Series().chart().body)
    yahoo.vendor.rule = lambda asked: Answer(json.loads(told.replace(SYMBOL, asked.path.rsplit("/", 1)[-1])))
    both = [SYMBOL, "OTHER"]
    assert yahoo.platform.run(TABLE, "2024-02-01", "2024-03-01", symbols=both).success
    halve = f"update stock_prices_daily set adj_close = adj_close / 2 where symbol = '{SYMBOL}'"
    while_answering(yahoo.vendor, lambda: yahoo.platform.execute(halve))
    outcome = yahoo.platform.run(TABLE, "2024-04-01", symbols=both)
    assert outcome.success, outcome.error
    newest = yahoo.platform.rows("select symbol, max(date) from stock_prices_daily group by symbol order by symbol")
    assert newest == [("OTHER", date(2024, 4, 30)), (SYMBOL, date(2024, 3, 28))]
    letters = "select symbol from task_failures where exception like '%restated its history meanwhile%'"
    assert yahoo.platform.rows(letters) == [(SYMBOL,)]


def test_rows_that_the_restated_answer_lacks_move_along_with_it(yahoo: ScriptedYahoo) -> None:
    yahoo.run("02", "03")
    hole = {session(8), session(9), session(10)}
    series = Series(dividends={EX: 2.0}, splits={NEXT: 4.0}, real_splits={NEXT: 4.0})
    everything = {**series.closes()}, {**series.adjusted_closes()}
    series.missing = hole
    yahoo.tells(series)
    yahoo.run("04")
    for column, right in zip(("close", "adj_close"), everything, strict=True):
        stored = yahoo.stored(column)
        assert hole < stored.keys()
        before = {day: stored[day] / stored[session(7)] for day in hole}
        assert before == {day: pytest.approx(right[day] / right[session(7)], rel=0.1) for day in hole}


@pytest.mark.parametrize("run_again_unadjusted", [False, True])
def test_a_split_that_the_vendor_has_not_applied_is_applied_once(
    yahoo: ScriptedYahoo, run_again_unadjusted: bool
) -> None:
    """BCAN and WLL at Yahoo: the split is told, its prices fall tenfold on the day."""
    before = Series(real_splits={EX: 10.0}, until=session(9, 4))
    yahoo.tells(before)
    yahoo.run("02", "04")
    right = Series(splits={EX: 10.0}, real_splits={EX: 10.0})
    unadjusted = Series(splits={EX: 10.0}, real_splits={EX: 10.0}, adjusted=[])
    yahoo.tells(unadjusted)
    outcome = yahoo.run("04")
    assert len(yahoo.vendor.asked) <= 2
    assert outcome["splits_applied"] == SYMBOL
    assert yahoo.platform.rows("select date, rule from rejected_rows") == [(EX, "split_not_applied")]
    is_of(yahoo, right)
    if run_again_unadjusted:
        yahoo.tells(unadjusted)
        assert yahoo.run("04")["rows_updated"] == 0
    yahoo.tells(right)
    outcome = yahoo.run("02", "04")
    assert "splits_applied" not in outcome
    assert outcome["rows_updated"] == 0
    assert yahoo.platform.rows("select * from rejected_rows") == []
    is_of(yahoo, right)


def test_a_split_told_before_its_day_is_applied_when_the_day_has_come(yahoo: ScriptedYahoo) -> None:
    early = Series(splits={EX: 10.0}, real_splits={EX: 10.0}, adjusted=[], until=session(9, 4))
    yahoo.tells(early)
    yahoo.run("02", "04")
    is_of(yahoo, early)
    yahoo.tells(Series(splits={EX: 10.0}, real_splits={EX: 10.0}, adjusted=[]))
    yahoo.run("04")
    is_of(yahoo, Series(splits={EX: 10.0}, real_splits={EX: 10.0}))


@pytest.mark.parametrize(
    ("real", "adjusted"),
    [(EX, [EX]), (EX, []), (NEXT, []), (EX, [EX, NEXT]), (NEXT, [EX, NEXT])],
    ids=["applied once", "not applied", "not applied, the later is real", "applied twice", "twice, the later is real"],
)
def test_a_split_told_twice_counts_once(yahoo: ScriptedYahoo, real: date, adjusted: list[date]) -> None:
    yahoo.tells(Series(real_splits={real: 4.0}, until=session(9, 4)))
    yahoo.run("02", "03")
    yahoo.tells(Series(splits={EX: 4.0, NEXT: 4.0}, real_splits={real: 4.0}, adjusted=adjusted))
    yahoo.run("04")
    is_of(yahoo, Series(splits={real: 4.0}, real_splits={real: 4.0}))
    assert yahoo.actions() == [(real, "split", 4.0)]
    twice = "select date from rejected_rows where rule = 'split_told_twice'"
    assert yahoo.platform.rows(twice) == [(EX if real == NEXT else NEXT,)]


def test_a_split_that_is_withdrawn_leaves_prices_and_actions_as_they_were(yahoo: ScriptedYahoo) -> None:
    plain = Series()
    yahoo.run("02", "04")
    yahoo.tells(Series(splits={EX: 2.0}))
    yahoo.run("04")
    assert yahoo.actions() == [(EX, "split", 2.0)]
    yahoo.run("04", table="indicators_daily")
    yahoo.tells(plain)
    yahoo.run("04")
    is_of(yahoo, plain)
    assert yahoo.actions() == []
    assert yahoo.withdrawn() == [("corporate_actions", EX, "yahoo")]
    since = yahoo.platform.scalar(
        "select dirty_from from dirty_marks where table_name = 'indicators_daily' and symbol = :symbol", symbol=SYMBOL
    )
    assert since == calendars.schedule(STOCK, date(2024, 2, 1), date(2024, 2, 5)).dates[0].item()


def test_a_crash_on_the_day_of_a_split_is_no_split(yahoo: ScriptedYahoo) -> None:
    """A reverse split of a share that loses a fifth on the day is applied already."""
    series = Series(splits={EX: 0.5}, real_splits={EX: 0.5})
    chart = series.chart()
    quote = chart.body["chart"]["result"][0]["indicators"]["quote"][0]
    at = series.days.index(EX)
    for name in ("open", "high", "low", "close"):
        quote[name][at:] = [price * 0.6 for price in quote[name][at:]]
    yahoo.vendor.will_answer(chart)
    assert "splits_applied" not in yahoo.run("04")
    assert yahoo.stored("close")[session(9, 4)] == series.closes()[session(9, 4)]
