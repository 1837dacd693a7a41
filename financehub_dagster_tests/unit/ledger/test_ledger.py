"""The ledger: every session in exactly one state, by whichever path it got there."""

import contextlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import ledger
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError, StatementFailed
from financehub_dagster_tests.unit.ledger.ledger_world import (
    APPLE,
    BITCOIN,
    CRYPTOS,
    ETHER,
    FORD,
    HISTORY_START,
    INDICATORS,
    NOW,
    STOCKS,
    store_bars,
)

MARCH = (date(2024, 3, 1), date(2024, 3, 31))
GOOD_FRIDAY = date(2024, 3, 29)


def all_rows() -> list[tuple]:
    with transaction() as connection:
        rows = connection.execute(sa.text("select * from coverage order by table_name, symbol"))
        return [tuple(row)[:-1] for row in rows]


def test_a_new_instrument_is_all_gaps_up_to_its_last_finished_session(world):
    world.join(APPLE, BITCOIN)
    march = world.row(STOCKS, APPLE, "2024-03-01")
    assert march["expected"] == 20
    assert march["stored"] == 0
    assert len(march["gap"]) == 20
    assert GOOD_FRIDAY not in march["gap"]
    june = world.row(CRYPTOS, BITCOIN, "2024-06-01")
    assert june["gap"] == [date(2024, 6, day) for day in range(1, 14)]  # the 14th is still running in UTC
    assert world.row(STOCKS, APPLE, "2024-06-01")["gap"][-1] == date(2024, 6, 14)


def test_refreshing_twice_changes_nothing_and_a_finished_session_is_added(world):
    world.join(APPLE)
    assert ledger.refresh(world.now) == 0
    world.now = datetime(2024, 6, 17, 21, tzinfo=UTC)
    assert ledger.refresh(world.now) == 2
    assert world.row(STOCKS, APPLE, "2024-06-01")["gap"][-1] == date(2024, 6, 17)


def test_a_stored_session_is_stored_and_its_indicators_become_expected(world):
    world.join(APPLE)
    world.answer(APPLE, *MARCH)
    stored = {"expected": 20, "stored": 20, "empty": [], "gap": [], "dead_lettered": [], "deferred": []}
    assert world.row(STOCKS, APPLE, "2024-03-01") == stored
    assert len(world.row(INDICATORS, APPLE, "2024-03-01")["gap"]) == 20
    world.compute(APPLE, *MARCH)
    assert world.row(INDICATORS, APPLE, "2024-03-01") == stored


def test_a_dead_letter_of_the_whole_task_covers_every_instrument_it_was_about(world):
    world.join(APPLE, FORD)
    world.fail(STOCKS, "2024-02-01...2024-03-01", "", symbols=["F"])
    assert len(world.row(STOCKS, FORD, "2024-02-01")["dead_lettered"]) == 20
    assert len(world.row(STOCKS, FORD, "2024-03-01")["dead_lettered"]) == 20
    assert len(world.row(STOCKS, FORD, "2024-04-01")["gap"]) == 22
    assert world.row(STOCKS, APPLE, "2024-03-01")["dead_lettered"] == []
    world.fail(STOCKS, "2024-04-01", "")
    assert len(world.row(STOCKS, APPLE, "2024-04-01")["dead_lettered"]) == 22
    world.resolve(STOCKS, "2024-02-01...2024-03-01", "")
    assert len(world.row(STOCKS, FORD, "2024-03-01")["gap"]) == 20


def test_of_several_reasons_a_session_has_the_first_that_applies(world):
    world.join(APPLE)
    empty = date(2024, 3, 5)
    world.answer(APPLE, date(2024, 3, 1), date(2024, 3, 15), without=[empty])
    for hours in (1, 4, 24, 72, 168):
        world.pass_time(hours=hours)
        world.answer(APPLE, *MARCH, without=[empty, *world.sessions(APPLE, date(2024, 3, 16), date(2024, 3, 31))])
    world.defer(STOCKS, "2024-03-01", "AAPL", world.now + timedelta(hours=1))
    world.fail(STOCKS, "2024-03-01", "AAPL")
    row = world.row(STOCKS, APPLE, "2024-03-01")
    assert (row["stored"], row["empty"], row["dead_lettered"], row["gap"]) == (10, [empty], [], [])
    assert len(row["deferred"]) == 9
    world.take_up(STOCKS)
    assert len(world.row(STOCKS, APPLE, "2024-03-01")["dead_lettered"]) == 9


def test_an_instrument_that_leaves_takes_its_rows_along_and_brings_them_back(world):
    world.join(APPLE, FORD)
    world.answer(APPLE, *MARCH)
    before = all_rows()
    world.leave(APPLE)
    assert {row[1] for row in all_rows()} == {"F"}
    world.answer(APPLE, date(2024, 4, 1), date(2024, 4, 30))
    assert {row[1] for row in all_rows()} == {"F"}
    world.join(APPLE)
    assert len(all_rows()) == len(before)
    assert world.row(STOCKS, APPLE, "2024-04-01")["stored"] == 22


def test_a_table_without_calendar_has_no_rows_to_settle(world):
    world.join(APPLE)
    with transaction() as connection:
        assert ledger.settle(connection, "instruments", None, *MARCH, NOW) == 0


@pytest.mark.parametrize(
    "edit",
    [
        "update coverage set gap = '{}'",
        "update coverage set empty = gap, gap = '{}'",
        "update coverage set gap = gap + '{[2024-03-04,2024-03-08)}'",
        "update coverage set through = through - 31",
        "update coverage set first = first + 31",
        "update coverage set calendar_digest = 1",
        "delete from coverage where table_name = 'indicators_daily'",
        "delete from coverage where table_name <> 'indicators_daily'",
        "update coverage set symbol = 'GONE' where symbol = 'AAPL'",
        "update coverage set table_name = 'quotes' where table_name = 'crypto_prices_daily'",
        "truncate coverage",
    ],
)
def test_a_ledger_edited_by_hand_is_computed_anew_and_says_how_much_was_wrong(world, edit):
    world.join(APPLE, BITCOIN)
    world.answer(APPLE, *MARCH)
    right = all_rows()
    with transaction() as connection:
        connection.execute(sa.text(edit))
    wrong = set(map(str, right)) ^ set(map(str, all_rows()))
    assert wrong
    assert 0 < world.rebuild() <= len(wrong)
    assert all_rows() == right
    assert world.rebuild() == 0


def test_a_row_with_a_session_in_two_states_is_refused(world):
    world.join(APPLE)
    with pytest.raises(StatementFailed, match="coverage_one_state_check"), transaction() as connection:
        connection.execute(sa.text("update coverage set deferred = gap where gap <> '{}'"))


def test_an_earlier_start_of_the_history_is_a_stretch_of_new_gaps(world, monkeypatch):
    world.join(ETHER)
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", "2023-11-15")
    get_settings.cache_clear()
    world.pass_time(hours=1)
    assert len(world.row(CRYPTOS, ETHER, "2023-11-01")["gap"]) == 30
    assert world.rebuild() == 0


HOLIDAY_CANCELLED = "mic,date,kind,opens,closes,note\nXNAS,2024-03-29,session,,,traded after all\n"


@pytest.mark.parametrize("writer", [False, True], ids=["the next tick", "the next writer"])
def test_a_session_that_a_changed_calendar_adds_is_not_taken_for_stored(world, monkeypatch, tmp_path, writer):
    world.join(APPLE)
    world.answer(APPLE, HISTORY_START, world.now.date())
    assert world.row(STOCKS, APPLE, "2024-03-01")["gap"] == []
    (tmp_path / "exchange_corrections.csv").write_text(HOLIDAY_CANCELLED)
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    get_settings.cache_clear()
    if writer:
        world.answer(APPLE, date(2024, 6, 1), date(2024, 6, 14))
    else:
        assert ledger.refresh(world.now) > 0
    assert world.row(STOCKS, APPLE, "2024-03-01")["gap"] == [GOOD_FRIDAY]
    assert ledger.refresh(world.now) == 0
    assert world.rebuild() == 0


def test_an_instrument_that_moves_to_another_exchange_is_settled_by_its_calendar(world):
    world.join(APPLE)
    world.answer(APPLE, HISTORY_START, world.now.date())
    moved = replace(APPLE, exchange="XETR")
    world.join(moved)
    presidents_day = date(2024, 2, 19)
    assert presidents_day in world.row(STOCKS, moved, "2024-02-01")["gap"]
    assert world.rebuild() == 0


def test_days_without_sessions_split_no_range_and_what_is_complete_takes_none(world):
    world.join(APPLE)
    [_, (_, _, gap)] = ranges()
    assert gap == "{[2024-01-02,2024-06-15)}"
    tuesday = date(2024, 4, 2)
    world.answer(APPLE, HISTORY_START, world.now.date(), without=[date(2024, 3, 28), date(2024, 4, 1), tuesday])
    assert ranges()[1][2] == "{[2024-03-28,2024-04-03)}"  # Good Friday and Easter
    world.answer(APPLE, tuesday, tuesday)
    assert ranges()[1][2] == "{[2024-03-28,2024-04-02)}"
    world.answer(APPLE, *MARCH)
    world.answer(APPLE, date(2024, 4, 1), date(2024, 4, 30))
    world.compute(APPLE, HISTORY_START, world.now.date())
    assert [each[2] for each in ranges()] == ["{}", "{}"]


def ranges() -> list[tuple[str, date, str]]:
    with transaction() as connection:
        rows = connection.execute(sa.text("select table_name, through, gap::text from coverage order by table_name"))
        return [tuple(row) for row in rows]


def test_settlers_of_other_instruments_do_not_wait_for_each_other(world):
    world.join(APPLE, FORD)
    with transaction() as one:
        ledger.settle(one, STOCKS, ["AAPL"], *MARCH, NOW)
        for symbols, waits in ((["F"], False), (["AAPL", "F"], True), (None, True)):
            expected = pytest.raises(DatabaseError, match="lock timeout") if waits else contextlib.nullcontext()
            with expected, transaction() as other:
                other.execute(sa.text("set local lock_timeout = '200ms'"))
                ledger.settle(other, STOCKS, symbols, *MARCH, NOW)


def test_settling_and_data_stand_or_fall_together(world):
    world.join(APPLE)
    before = all_rows()
    with contextlib.suppress(KeyboardInterrupt), transaction() as connection:
        store_bars(connection, APPLE, world.sessions(APPLE, *MARCH))
        assert ledger.settle(connection, STOCKS, ["AAPL"], *MARCH, NOW) == 2
        raise KeyboardInterrupt
    assert all_rows() == before
    assert world.rebuild() == 0
