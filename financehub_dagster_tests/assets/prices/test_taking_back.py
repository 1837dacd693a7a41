"""Actions and bars that a vendor no longer tells: taken back and kept, unless its answer has holes."""

from datetime import date, timedelta

import pytest

from financehub_dagster_tests.assets.prices.scripted_yahoo import SYMBOL, ScriptedYahoo, Series, session

TABLE = "stock_prices_daily"
DAY, LATER = session(8), session(9)


@pytest.mark.parametrize("paid", [None, []], ids=["adjusted", "not adjusted"])
def test_a_dividend_that_is_told_for_another_day_is_one_dividend(yahoo: ScriptedYahoo, paid: list[date] | None) -> None:
    yahoo.tells(Series(dividends={DAY: 1.0}, paid=paid))
    yahoo.run("02", "03")
    corrected = Series(dividends={LATER: 1.0}, paid=paid)
    yahoo.tells(corrected)
    outcome = yahoo.platform.run([TABLE, "corporate_actions"], "2024-03-01", symbols=[SYMBOL])
    assert yahoo.actions() == [(LATER, "dividend", 1.0)]
    assert outcome.tables["corporate_actions"]["rows_withdrawn"] == 1
    kept = yahoo.platform.rows(
        "select date, old->>'kind', (old->>'value')::float, withdrawn_by, run_id from price_revisions"
        " where table_name = 'corporate_actions'"
    )
    assert kept == [(DAY, "dividend", 1.0, "yahoo", outcome.run_id)]
    right = corrected.adjusted_closes()
    known = yahoo.stored("adj_close")
    assert known == {day: right[day] if paid is None or day >= LATER else None for day in known}


def test_an_answer_without_events_takes_no_dividend_back_that_its_adjusted_closes_take_out(
    yahoo: ScriptedYahoo,
) -> None:
    yahoo.tells(Series(dividends={DAY: 1.0}, splits={session(3): 2.0}, real_splits={session(3): 2.0}))
    yahoo.run("02", "03")
    told = yahoo.actions()
    silent = Series(dividends={DAY: 1.0}, splits={session(3): 2.0}, real_splits={session(3): 2.0}, told=False)
    yahoo.tells(silent)
    assert yahoo.run("02", "03")["incomplete_answers"] == SYMBOL
    assert yahoo.actions() == told


def test_actions_beyond_the_bars_of_an_answer_are_not_taken_back(yahoo: ScriptedYahoo) -> None:
    yahoo.tells(Series(dividends={DAY: 1.0}, paid=[]))
    yahoo.run("02", "03")
    yahoo.tells(Series(paid=[], until=session(5)))
    yahoo.run("02", "03")
    assert yahoo.actions() == [(DAY, "dividend", 1.0)]


def test_a_bar_that_is_no_longer_sent_is_taken_back_with_all_that_follows_from_it(yahoo: ScriptedYahoo) -> None:
    yahoo.run("02", "03")
    yahoo.run("02", "03", table="indicators_daily")
    before = yahoo.stored("close")
    yahoo.tells(Series(missing={DAY}))
    assert yahoo.run("03")["rows_withdrawn"] == 1
    assert before.keys() - yahoo.stored("close").keys() == {DAY}
    assert yahoo.withdrawn() == [(TABLE, DAY, "yahoo")]
    assert yahoo.platform.rows("select (old->>'close')::float from price_revisions") == [(before[DAY],)]
    gap = (
        "select lower(days), upper(days) from coverage, unnest(gap) days"
        " where table_name = :table and symbol = :symbol and days @> cast(:day as date)"
    )
    assert yahoo.platform.rows(gap, table=TABLE, symbol=SYMBOL, day=DAY) == [(DAY, DAY + timedelta(days=1))]
    assert yahoo.platform.rows("select dirty_from from dirty_marks where table_name = 'indicators_daily'") == [(DAY,)]
    yahoo.run("03", table="indicators_daily")
    assert yahoo.platform.scalar("select count(*) from indicators_daily where date = :day", day=DAY) == 0
    yahoo.tells(Series())
    yahoo.run("03")
    assert yahoo.stored("close") == before


def test_the_last_session_of_the_month_before_is_looked_at_too(yahoo: ScriptedYahoo) -> None:
    yahoo.run("02", "03")
    gone = session(0)
    yahoo.tells(Series(missing={gone}))
    yahoo.run("03")
    assert yahoo.withdrawn() == [(TABLE, gone, "yahoo")]


def test_holes_in_an_answer_take_nothing_back(yahoo: ScriptedYahoo) -> None:
    yahoo.run("02", "03")
    before = yahoo.stored("close")
    for holes, series in {
        "cut off": Series(until=session(10)),
        "two in a row": Series(missing={session(3), session(4)}),
        "every other": Series(missing={session(number) for number in range(1, 19, 2)}),
        "a row of nulls": Series(empty={DAY}),
        "one bar alone": Series(missing=set(Series().days) - {session(3)}),
    }.items():
        yahoo.tells(series)
        yahoo.run("03")
        assert yahoo.stored("close").keys() == before.keys(), holes
        assert yahoo.withdrawn() == [], holes


def test_a_bar_on_a_day_without_a_session_goes_at_once(yahoo: ScriptedYahoo) -> None:
    holidays = {date(2024, 3, 29), date(2024, 3, 9), date(2024, 3, 10)}
    yahoo.tells(Series(extra=holidays))
    yahoo.run("02", "04")
    assert holidays < yahoo.stored("close").keys()
    yahoo.tells(Series())
    yahoo.run("02", "04")
    assert holidays.isdisjoint(yahoo.stored("close"))


def test_a_bar_of_a_vendor_that_stood_in_is_not_taken_back_by_another(yahoo: ScriptedYahoo) -> None:
    yahoo.run("02", "03")
    yahoo.platform.execute("update stock_prices_daily set source = 'twelve_data' where date = :day", day=DAY)
    yahoo.tells(Series(missing={DAY}))
    yahoo.run("03")
    assert DAY in yahoo.stored("close")
