"""Ticks over whole days, by simulated time: every minute is stored, no closed market asked, and no limit broken."""

from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster.market.instrument_files import default_universe
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.routing import IntradayRouter
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster.settings import get_settings
from financehub_dagster_tests.assets.intraday.simulation import DatabaseClock, Simulation, edges

MINUTE = timedelta(minutes=1)
MONDAY = datetime(2025, 11, 24, tzinfo=UTC)
"""Of a week with a holiday in Tokyo on Monday and one in New York on Thursday, and New York's half day on Friday."""
TRADE_MATRIX = ("DAX", "NDX", "DJI", "EURUSD", "GBPUSD")
YAHOO_A_MINUTE, CREDITS_A_MINUTE, CREDITS_A_DAY = 60, 8, 800


def of_the_universe(*symbols: str) -> list[Instrument]:
    known = {each.symbol: each for each in default_universe()}
    return [known[symbol] for symbol in symbols]


@pytest.fixture
def world(market) -> Simulation:
    """New York, Xetra, Tokyo with its lunch break, a currency pair and a crypto."""
    market.sandbox.list_synthetic(1, "TKY", exchange="XTKS")
    tokyo = Instrument(
        "TKY0001", "Synthetic TKY0001", AssetType.STOCK, "XTKS", "JPY", "Asia/Tokyo", aliases={"yahoo": "TKY0001"}
    )
    return Simulation(market, [*of_the_universe("AAPL", "DAX", "EURUSD", "BTC"), tokyo])


def check(world: Simulation, start: datetime, stop: datetime) -> None:
    assert world.missing_bars(start, stop) == {}
    assert world.calls_in_vain() == []
    calls = world.market.sandbox.calls()
    assert set(calls["by_status"]) == {"200"}
    assert max(weight for _, weight in world.weights_by_tick("yahoo")) <= YAHOO_A_MINUTE
    assert not any(world.market.settled(each.symbol).stretches for each in world.instruments)


def test_a_day_of_ticks_stores_every_minute_and_asks_no_closed_market(world):
    start, stop = MONDAY + timedelta(days=4), MONDAY + timedelta(days=5)
    world.run(edges(world.instruments, start, stop, timedelta(minutes=90)))
    check(world, start, stop)
    asked = world.asked["AAPL"]
    assert asked[-1] == datetime(2025, 11, 28, 18, 0, 2, tzinfo=UTC), "nothing after the early close"


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_week_of_ticks_stores_every_minute_and_asks_no_closed_market(world):
    stop = MONDAY + timedelta(days=7)
    world.run(edges(world.instruments, MONDAY, stop, timedelta(minutes=7)))
    check(world, MONDAY, stop)
    closed = [at for at in world.asked["TKY0001"][1:] if at < MONDAY + timedelta(days=1)]
    assert closed == [], "a holiday"


@pytest.fixture
def on_free_credits(market, database, sandbox, monkeypatch) -> Simulation:
    """TradeMatrix's five symbols, a free key of Twelve Data, and nobody else to ask."""
    monkeypatch.setenv("TWELVE_DATA_API_KEYS", sandbox.keys["TWELVE_DATA_API_KEYS"])
    get_settings.cache_clear()
    for seconds in (60.0, 86_400.0):  # which the sandbox counts by the clock on the wall
        sandbox.limit("twelve_data", 1_000_000, seconds)
    only = ["twelve_data"]
    providers = {**all_providers(), "twelve_data": TwelveDataProvider(first_pause=0.0)}
    market.router = IntradayRouter(index=only, fx=only).over(providers)
    return Simulation(market, of_the_universe(*TRADE_MATRIX), DatabaseClock(database))


def test_an_hour_of_free_credits_is_spent_evenly_and_within_the_minutes_limit(on_free_credits):
    start = datetime(2025, 11, 26, 13, 45, tzinfo=UTC)
    on_free_credits.run([start + MINUTE * number for number in range(60)])
    spent = [weight for _, weight in on_free_credits.weights_by_tick("twelve_data")]
    assert max(spent) <= CREDITS_A_MINUTE
    assert sum(spent) <= CREDITS_A_DAY
    assert all(len(times) >= 2 for times in on_free_credits.asked.values())
    assert on_free_credits.missing_bars(start.replace(hour=0, minute=0), start - timedelta(minutes=45)) == {}


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_day_of_free_credits_completes_all_timeframes_of_five_symbols_within_the_limits(on_free_credits):
    start = datetime(2025, 11, 26, tzinfo=UTC)
    stop = start + timedelta(days=1)
    on_free_credits.run([start + MINUTE * number for number in range(1440 + 3)])
    spent = list(on_free_credits.weights_by_tick("twelve_data"))
    assert max(weight for _, weight in spent) <= CREDITS_A_MINUTE
    assert sum(weight for now, weight in spent if now < stop) <= CREDITS_A_DAY
    late = stop - timedelta(hours=1)
    assert on_free_credits.missing_bars(start, late) == {}
    plans = [tick.summary()["twelve_data"] for _, _, tick in on_free_credits.ticks if tick.symbols]
    assert len(plans) > 200
    assert all("credits kept for closes" in plan for plan in plans)
