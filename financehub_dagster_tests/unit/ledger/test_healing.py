"""From gaps to orders: what is due, for whom first, and when a vendor that had nothing is asked again."""

import resource
from datetime import date, timedelta

import sqlalchemy as sa

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.coverage import backfill_planner, gaps
from financehub_dagster.storage.coverage.backfill_planner import HealingBatch
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.rate_limits import api_keys, availability, circuit_breakers, limiter
from financehub_dagster.storage.rate_limits.quotas import Quota
from financehub_dagster_tests.unit.ledger.ledger_world import (
    APPLE,
    BITCOIN,
    CRYPTOS,
    ETHER,
    FORD,
    HISTORY_START,
    INDICATORS,
    SAP,
    STOCKS,
    World,
)

MARCH = (date(2024, 3, 1), date(2024, 3, 31))
WHOLE = (date(2024, 1, 1), date(2024, 6, 1))
EVERYTHING = (HISTORY_START, date(2024, 6, 30))
HOLE = date(2024, 3, 12)


def plan(world: World, limit: int = 4, **options) -> list[HealingBatch]:
    with transaction() as connection:
        return backfill_planner.plan(connection, world.now, limit, **options)


def asked(world: World, instrument: Instrument) -> list[tuple]:
    query = sa.text(
        "select day::date, asked, next_ask_at from empty_answers, unnest(sessions) as days,"
        " generate_series(lower(days), upper(days) - 1, interval '1 day') as day where symbol = :s order by day"
    )
    with transaction() as connection:
        return [tuple(row) for row in connection.execute(query, {"s": instrument.symbol})]


def test_new_instruments_get_their_whole_history_the_most_important_first(world):
    world.join(FORD, SAP, APPLE, ETHER, BITCOIN)
    stocks, cryptos = plan(world)
    assert (stocks.table, stocks.first, stocks.last, stocks.symbols) == (STOCKS, *WHOLE, ("AAPL", "SAP", "F"))
    assert (cryptos.table, cryptos.symbols) == (CRYPTOS, ("BTC", "ETH"))
    assert cryptos.sessions == 2 * (date(2024, 6, 14) - date(2024, 1, 1)).days


def test_stored_bars_without_indicators_are_an_order_for_the_indicators(world):
    world.join(APPLE)
    world.answer(APPLE, *EVERYTHING)
    assert plan(world) == [HealingBatch(INDICATORS, *WHOLE, ("AAPL",), 115)]
    world.compute(APPLE, *EVERYTHING)
    assert plan(world) == []


def test_a_session_without_answer_is_asked_again_at_growing_intervals_and_then_confirmed(world):
    world.join(APPLE)
    world.answer(APPLE, *EVERYTHING, without=[HOLE])
    world.compute(APPLE, *EVERYTHING)
    waits: list[timedelta] = []
    while world.row(STOCKS, APPLE, "2024-03-01")["gap"]:
        assert plan(world, tables=[STOCKS]) == []
        [(day, times, due)] = asked(world, APPLE)
        assert (day, times) == (HOLE, len(waits) + 1)
        waits.append(due - world.now)
        world.now = due - timedelta(seconds=1)
        assert plan(world, tables=[STOCKS]) == []
        world.now = due
        assert plan(world, tables=[STOCKS])[0].first == MARCH[0]
        world.answer(APPLE, *MARCH, without=[HOLE])
    assert waits == [timedelta(hours=1), timedelta(hours=4), timedelta(1), timedelta(3), timedelta(7)]
    assert world.row(STOCKS, APPLE, "2024-03-01")["empty"] == [HOLE]
    assert asked(world, APPLE) == [(HOLE, 6, None)]


def test_an_answer_before_its_time_does_not_count(world):
    world.join(APPLE)
    for _ in range(8):
        world.answer(APPLE, *MARCH, without=[HOLE])
    [(_, times, due)] = asked(world, APPLE)
    assert (times, due) == (1, world.now + timedelta(hours=1))


def test_a_bar_that_comes_late_ends_the_waiting_even_after_it_was_confirmed(world):
    world.join(APPLE)
    for hours in (0, 1, 4, 24, 72, 168):
        world.pass_time(hours=hours)
        world.answer(APPLE, *MARCH, without=[HOLE])
    assert world.row(STOCKS, APPLE, "2024-03-01")["empty"] == [HOLE]
    world.answer(APPLE, *MARCH)
    assert world.row(STOCKS, APPLE, "2024-03-01")["stored"] == 20
    assert asked(world, APPLE) == []
    assert world.rebuild() == 0


def test_sessions_before_the_first_bar_of_an_instrument_are_confirmed_at_once(world):
    world.join(APPLE)
    listed = date(2024, 4, 15)
    world.answer(APPLE, *EVERYTHING, without=world.sessions(APPLE, HISTORY_START, listed - timedelta(days=1)))
    assert len(world.row(STOCKS, APPLE, "2024-03-01")["empty"]) == 20
    assert len(world.row(STOCKS, APPLE, "2024-04-01")["empty"]) == 10
    assert plan(world, tables=[STOCKS]) == []


def test_a_hole_in_front_of_a_short_answer_is_no_listing_once_an_earlier_bar_is_stored(world):
    world.join(APPLE)
    first = MARCH[0]
    world.answer(APPLE, *MARCH, without=[first])
    assert world.row(STOCKS, APPLE, "2024-03-01")["empty"] == [first]
    world.answer(APPLE, date(2024, 2, 1), date(2024, 2, 29))
    assert world.row(STOCKS, APPLE, "2024-03-01")["gap"] == [first]
    world.answer(APPLE, *MARCH, without=[first])
    assert world.row(STOCKS, APPLE, "2024-03-01")["gap"] == [first]
    assert world.rebuild() == 0


def test_an_answer_without_a_single_bar_confirms_nothing_yet(world):
    world.join(APPLE)
    world.answer(APPLE, *MARCH, without=world.sessions(APPLE, *MARCH))
    assert len(world.row(STOCKS, APPLE, "2024-03-01")["gap"]) == 20
    assert {due for _, _, due in asked(world, APPLE)} == {world.now + timedelta(hours=1)}


def test_a_rejected_bar_is_asked_for_again_and_never_confirmed(world):
    world.join(APPLE)
    for hours in (0, 1, 4, 24, 72, 168, 168, 168):
        world.pass_time(hours=hours)
        world.answer(APPLE, *MARCH, rejected=[HOLE])
    assert world.row(STOCKS, APPLE, "2024-03-01")["gap"] == [HOLE]
    assert asked(world, APPLE) == [(HOLE, 8, world.now + timedelta(days=7))]


def test_work_that_was_deferred_is_due_over_its_whole_range_when_its_time_has_come(world):
    world.join(APPLE)
    world.answer(APPLE, *EVERYTHING)
    world.compute(APPLE, *EVERYTHING)
    until = world.now + timedelta(hours=2)
    world.defer(STOCKS, "2024-02-01...2024-04-01", "AAPL", until)
    assert plan(world) == []
    world.now = until
    assert plan(world) == [HealingBatch(STOCKS, date(2024, 2, 1), date(2024, 4, 1), ("AAPL",), 0)]


def test_dead_letters_are_left_to_their_replays(world):
    world.join(APPLE)
    world.fail(STOCKS, "2024-01-01...2024-06-01", "AAPL")
    assert plan(world) == []


def test_gaps_far_apart_are_two_orders_and_instruments_of_like_ranges_share_one(world, monkeypatch):
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", "2018-01-01")
    get_settings.cache_clear()
    world.join(APPLE, FORD, SAP)
    everything = (date(2018, 1, 1), date(2024, 6, 30))
    early, late = date(2018, 3, 12), date(2024, 2, 6)
    for instrument, lacks in ((APPLE, [early, late]), (FORD, [late]), (SAP, [date(2018, 5, 8), date(2021, 6, 8)])):
        world.answer(instrument, *everything, without=lacks)
    world.now += timedelta(hours=1)
    orders = plan(world, tables=[STOCKS])
    assert [(str(order.first)[:7], str(order.last)[:7], order.symbols) for order in orders] == [
        ("2018-03", "2018-05", ("AAPL", "SAP")),
        ("2024-02", "2024-02", ("AAPL", "F")),
        ("2021-06", "2021-06", ("SAP",)),
    ]
    assert [order.symbols for order in plan(world, limit=1, tables=[STOCKS])] == [("AAPL", "SAP")]


def test_an_order_has_a_bounded_number_of_instruments(world):
    universe = [Instrument(f"S{n:03d}", "x", AssetType.STOCK, "XNYS", market_cap=1000 - n) for n in range(120)]
    world.join(*universe)
    orders = plan(world, limit=2, tables=[STOCKS])
    assert [len(order.symbols) for order in orders] == [50, 50]
    assert orders[0].symbols[0] == "S000"
    assert orders[1].symbols[-1] == "S099"


def test_instruments_no_vendor_can_answer_for_wait(world):
    world.join(APPLE, BITCOIN)
    orders = plan(world, able=lambda instrument: instrument.asset_type is AssetType.CRYPTO)
    assert [order.table for order in orders] == [CRYPTOS]


def test_instruments_that_are_gone_are_ordered_no_more(world):
    world.join(APPLE, FORD)
    world.defer(STOCKS, "2024-03-01", "AAPL", world.now - timedelta(hours=1))
    with transaction() as connection:
        connection.execute(sa.text("delete from instruments where symbol = 'AAPL'"))
    assert [order.symbols for order in plan(world)] == [("F",)]
    assert world.rebuild() > 0
    with transaction() as connection:
        assert gaps.open_gaps(connection, 10)[0]["symbol"] == "F"


def test_counts_and_those_that_lack_most_are_read_from_the_ledger(world):
    world.join(APPLE, FORD)
    world.answer(APPLE, *EVERYTHING, without=[HOLE])
    with transaction() as connection:
        assert gaps.sessions_by_state(connection, ["AAPL"])[STOCKS] == {
            "expected": 115,
            "stored": 114,
            "empty": 0,
            "gap": 1,
            "dead_lettered": 0,
            "deferred": 0,
        }
        worst = gaps.open_gaps(connection, 1, table=STOCKS)
    assert [(row["symbol"], row["gap"]) for row in worst] == [("F", 115)]


def not_ready(capability: str = "daily_bars") -> set[str]:
    with transaction() as connection:
        return set(availability.unavailable(connection, capability))


def spend(engine: sa.Engine, provider: str, scope: str, quota: Quota) -> None:
    limiter.reserve(engine, provider, scope, [], [quota], weight=quota.amount, max_wait=0.0)


def test_a_vendor_whose_day_is_spent_is_not_ready_and_one_whose_minute_is_spent_is(database):
    spend(database.engine, "yahoo", "ip", Quota("day", 25, period=86_400.0))
    spend(database.engine, "binance", "ip", Quota("minute", 8, period=10.0))
    assert not_ready() == {"yahoo"}


def test_a_vendor_is_ready_while_one_of_its_keys_is(database):
    engine = database.engine
    for scope in ("one", "two"):
        api_keys.use(engine, "finnhub", scope, 1)
    api_keys.bench(engine, "finnhub", "one", cause="BadKey", reason="refused", seconds=3600)
    assert not_ready() == set()
    spend(engine, "finnhub", "two", Quota("day", 25, period=86_400.0))
    assert not_ready() == {"finnhub"}


def test_a_vendor_that_asked_for_silence_is_not_ready_and_neither_is_one_whose_bars_fail(database):
    engine = database.engine
    circuit_breakers.hold(engine, "binance", circuit_breakers.ANY, "banned", 600)
    circuit_breakers.hold(engine, "yahoo", "quotes", "down", 600)
    circuit_breakers.hold(engine, "twelve_data", "daily_bars@127.0.0.1:4000", "down", 600)
    circuit_breakers.hold(engine, "alpha_vantage", "daily_bars", "down", 20)
    assert not_ready() == {"binance", "twelve_data"}


def test_a_million_gaps_at_once_are_planned_bit_by_bit_in_little_memory(world, monkeypatch):
    monkeypatch.setenv("FINANCEHUB_HISTORY_START", "2009-01-01")
    get_settings.cache_clear()
    world.join(APPLE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    universe = [Instrument(f"S{n:03d}", "x", AssetType.STOCK, "XNYS", market_cap=1000 - n) for n in range(260)]
    world.join(*universe)
    with transaction() as connection:
        assert gaps.sessions_by_state(connection)[STOCKS]["gap"] > 1_000_000
    orders = plan(world, limit=2, tables=[STOCKS])
    assert [(order.symbols[0], len(order.symbols)) for order in orders] == [("AAPL", 50), ("S049", 50)]
    assert world.rebuild() == 0
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kilobytes < 100_000
