"""A delisted instrument: nothing is expected after its last day, what was missing before still is; it can return."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.intraday.trading_hours import trading_hours
from financehub_dagster.storage.coverage import backfill_planner, gaps, ledger
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import UnknownInstruments
from financehub_dagster.storage.identity.delisting import Delisting, delist
from financehub_dagster.storage.queries.instruments import list_instruments, upsert_instruments
from financehub_dagster_tests.unit.ledger.ledger_world import APPLE, BITCOIN, FORD, HISTORY_START, NOW, STOCKS, World

LAST = date(2024, 4, 12)
"""A Friday."""
MONDAY = date(2024, 4, 15)
HOLE = date(2024, 3, 12)


def end(world: World, last: date | None, symbol: str = "AAPL") -> Delisting:
    with transaction() as connection:
        return delist(connection, symbol, last, world.now)


def open_sessions(symbol: str = "AAPL", table: str = STOCKS) -> dict[str, int]:
    with transaction() as connection:
        return gaps.sessions_by_state(connection, [symbol])[table]


def orders(world: World) -> list[tuple[date, date]]:
    with transaction() as connection:
        planned = backfill_planner.plan(connection, world.now, 9, tables=[STOCKS])
        return [(order.first, order.last) for order in planned]


def ledger_rows() -> list[tuple[object, ...]]:
    with transaction() as connection:
        return [tuple(row) for row in connection.execute(sa.text("select * from coverage order by 1, 2"))]


def gone(instrument: Instrument) -> Instrument:
    return replace(instrument, delisted_on=LAST)


def test_sessions_after_the_last_day_are_no_gap_and_those_before_stay_one(world: World) -> None:
    world.join(APPLE)
    world.answer(APPLE, HISTORY_START, LAST, without=[HOLE])
    assert open_sessions()["gap"] == 1 + len(world.sessions(APPLE, MONDAY, NOW.date()))
    assert end(world, LAST) == Delisting("AAPL", LAST, changed=True)
    states = open_sessions()
    assert states["gap"] == 1
    assert states["expected"] == len(world.sessions(APPLE, HISTORY_START, LAST))
    assert open_sessions(table="indicators_daily")["expected"] == states["stored"]
    world.pass_time(days=60)
    assert ledger.refresh(world.now) == 0
    assert open_sessions() == states
    assert ledger.rebuild(world.now) == 0


def test_the_planner_asks_for_nothing_after_it(world: World) -> None:
    world.join(APPLE)
    end(world, LAST)
    assert orders(world) == [(date(2024, 1, 1), date(2024, 4, 1))]
    world.answer(APPLE, HISTORY_START, LAST)
    assert orders(world) == []


def test_telling_it_twice_changes_nothing(world: World) -> None:
    world.join(APPLE, FORD)
    end(world, LAST)
    before = ledger_rows()
    assert end(world, LAST) == Delisting("AAPL", LAST, changed=False)
    assert ledger_rows() == before


def test_a_transaction_that_breaks_off_leaves_the_ledger_as_it_was(world: World) -> None:
    world.join(APPLE)
    before = ledger_rows()
    with transaction() as connection:
        assert delist(connection, "AAPL", LAST, world.now).changed
        connection.rollback()
    assert ledger_rows() == before
    assert end(world, LAST).changed


def test_taking_it_back_expects_every_session_again(world: World) -> None:
    world.join(APPLE)
    world.answer(APPLE, HISTORY_START, LAST)
    before = open_sessions()
    end(world, LAST)
    world.pass_time(days=10)
    end(world, None)
    later = len(world.sessions(APPLE, NOW.date(), world.now.date())) - 1
    assert open_sessions()["gap"] == before["gap"] + later
    assert ledger.rebuild(world.now) == 0


def test_work_on_later_days_is_closed_and_work_on_earlier_ones_waits_on(world: World) -> None:
    world.join(APPLE, FORD)
    for month in ("2024-03-01", "2024-05-01"):
        world.fail(STOCKS, month, "AAPL")
        world.fail(STOCKS, month, "F")
    world.defer("quotes", "2024-06-13", "AAPL", NOW)
    assert end(world, LAST).ended == 2
    with transaction() as connection:
        live = connection.execute(
            sa.text("select symbol, partition_key from task_failures where status = 'open' order by 1, 2")
        ).all()
        reason = connection.execute(sa.text("select exception from task_failures where status = 'discarded'")).scalar()
        assert connection.execute(sa.text("select count(*) from deferred_work")).scalar() == 0
    assert [tuple(row) for row in live] == [("AAPL", "2024-03-01"), ("F", "2024-03-01"), ("F", "2024-05-01")]
    assert str(reason).startswith("discarded, delisted on 2024-04-12; ")
    assert end(world, LAST).ended == 0


def test_one_that_ended_before_the_history_has_no_row_in_the_ledger(world: World) -> None:
    world.join(APPLE)
    end(world, date(2019, 5, 1))
    assert ledger_rows() == []
    assert ledger.refresh(world.now) == 0


def test_others_of_its_exchange_are_expected_on(world: World) -> None:
    world.join(APPLE, FORD, BITCOIN)
    before = open_sessions("F")
    end(world, LAST)
    end(world, LAST, "BTC")
    assert open_sessions("F") == before
    assert open_sessions("BTC", "crypto_prices_daily")["expected"] == (LAST - HISTORY_START).days + 1


def test_no_minute_is_due_after_the_last_day(world: World) -> None:
    hours = trading_hours(gone(APPLE))
    assert hours.sessions.dates[-1].item() == LAST
    assert trading_hours(gone(APPLE)) is hours
    assert hours.next_close(hours.sessions.closes[-1]).astype(str) == "NaT"
    assert trading_hours(APPLE).sessions.dates[-1].item() > LAST


def test_editing_an_instrument_does_not_list_it_again(world: World) -> None:
    world.join(APPLE)
    end(world, LAST)
    with transaction() as connection:
        assert upsert_instruments(connection, [APPLE]).unchanged == 1
        upsert_instruments(connection, [replace(APPLE, name="Apple Inc.")])
        [found] = list_instruments(connection)
        assert (found.name, found.delisted_on) == ("Apple Inc.", LAST)
        assert list_instruments(connection, listed_on=LAST) == [found]
        assert list_instruments(connection, listed_on=MONDAY) == []


def test_an_unknown_symbol_is_refused(world: World) -> None:
    with pytest.raises(UnknownInstruments, match="NOPE"):
        end(world, LAST, "NOPE")


def test_the_day_is_over_once_it_has_passed() -> None:
    now = datetime.now(UTC).date()
    assert not APPLE.is_over(now)
    assert not gone(APPLE).is_over(LAST)
    assert gone(APPLE).is_over(MONDAY)
