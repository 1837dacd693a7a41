"""`ohlc_1m` and the longer bars: every minute is stored once, whatever vendors, clocks and runs do."""

from datetime import UTC, date, datetime, timedelta

import numpy as np

from financehub_dagster.automation.jobs.realtime import plan_tick
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.market.intraday.trading_hours import trading_hours

AAPL = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")
BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
DAY = date(2026, 11, 24)
MORNING = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
"""When New York opens on that day."""
CLOSE = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)


def expected(instrument: Instrument, start: datetime, stop: datetime) -> list[datetime]:
    hours = trading_hours(instrument)
    found = hours.minutes(*(np.datetime64(each.replace(tzinfo=None), "s") for each in (start, stop)))
    return [each.replace(tzinfo=UTC) for each in found.tolist()]


def test_each_pull_asks_from_the_last_complete_minute_on_and_stores_every_minute(market):
    times = [MORNING + timedelta(minutes=minutes) for minutes in (7, 8, 21, 90)]
    for now in times:
        outcomes = market.pull(now, [AAPL, BTC], DAY)
        assert not outcomes["ohlc_1m"].failures
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    assert market.minutes("BTC") == expected(BTC, midnight, times[-1])
    assert market.minutes("AAPL") == expected(AAPL, MORNING, times[-1])
    assert market.settled("BTC").stretches == ()
    assert len(market.minutes("AAPL", "ohlc_1h")) == 1
    assert len(market.minutes("BTC", "ohlc_5m")) == 16 * 12


def test_an_outage_of_eleven_minutes_is_found_and_healed_of_a_stock_and_of_a_crypto(market):
    first, last = MORNING + timedelta(minutes=30), MORNING + timedelta(minutes=41)
    for symbol in ("AAPL", "BTC"):
        market.sandbox.drop_minutes(symbol, first, last)
    now = MORNING + timedelta(minutes=95)
    market.pull(now, [AAPL, BTC], DAY)
    for symbol in ("AAPL", "BTC"):
        [gap] = market.settled(symbol).gaps
        assert (gap.start, gap.stop) == (first.timestamp(), last.timestamp())
        assert first not in market.minutes(symbol)
        assert datetime(2026, 11, 24, 15, 0, tzinfo=UTC) not in market.minutes(symbol, "ohlc_5m")
        market.sandbox.restore_minutes(symbol)
    market.pull(now + timedelta(minutes=20), [AAPL, BTC], DAY)
    for each in (AAPL, BTC):
        assert market.settled(each.symbol).stretches == ()
        assert set(expected(each, first, last)) <= set(market.minutes(each.symbol))
        assert datetime(2026, 11, 24, 15, 0, tzinfo=UTC) in market.minutes(each.symbol, "ohlc_5m")


def test_minutes_that_a_vendor_has_lost_are_confirmed_empty_after_repeats(market):
    first = MORNING + timedelta(minutes=30)
    market.sandbox.drop_minutes("BTC", first, first + timedelta(minutes=5))
    now = MORNING + timedelta(minutes=95)
    for wait in (timedelta(), timedelta(minutes=11), timedelta(hours=7)):
        now += wait
        market.pull(now, [BTC], DAY)
    [stretch] = market.settled("BTC").stretches
    assert (stretch.asked, stretch.next_ask_at, stretch.stop - stretch.start) == (3, None, 300)
    calls = market.sandbox.calls("binance")["total"]
    market.pull(now, [BTC], DAY)
    assert market.sandbox.calls("binance")["total"] == calls, "nothing is open"


def test_a_stocks_minute_without_a_trade_is_no_gap(market):
    lone = MORNING + timedelta(minutes=33)
    market.sandbox.drop_minutes("AAPL", lone, lone + timedelta(minutes=1))
    market.pull(MORNING + timedelta(minutes=95), [AAPL], DAY)
    assert market.settled("AAPL").stretches == ()
    assert lone not in market.minutes("AAPL")
    assert len(market.minutes("AAPL", "ohlc_5m")) == 19


def test_a_minute_that_is_changed_afterwards_is_replaced_kept_and_derived_anew(market):
    at = MORNING + timedelta(minutes=3)
    market.pull(MORNING + timedelta(minutes=40), [BTC], DAY)
    market.sandbox.set_minute("BTC", at, high=10_000_000.0)
    market.platform.execute("delete from minute_coverage")
    market.pull(MORNING + timedelta(minutes=41), [BTC], DAY)
    query = "select high from {} where symbol = 'BTC' and ts = '2026-11-24 14:30+00'"
    assert market.platform.scalar(query.format("ohlc_5m")) == 10_000_000.0
    revised = "select table_name from price_revisions where symbol = 'BTC' order by 1"
    assert [name for (name,) in market.platform.rows(revised)] == [
        "ohlc_15m",
        "ohlc_1h",
        "ohlc_1m",
        "ohlc_5m",
    ]


def test_one_that_fails_is_a_dead_letter_and_the_others_are_stored(market):
    market.sandbox.delist("BTC")
    outcomes = market.pull(MORNING + timedelta(minutes=10), [AAPL, BTC], DAY)
    assert set(outcomes["ohlc_1m"].failures) == {"BTC"}
    assert len(market.minutes("AAPL")) == 10
    letters = "select task_name, partition_key, symbol from task_failures"
    assert market.platform.rows(letters) == [("ohlc_1m", "2026-11-24", "BTC")]
    market.sandbox.reset()
    market.pull(MORNING + timedelta(minutes=12), [AAPL, BTC], DAY)
    assert market.platform.scalar("select status from task_failures") == "resolved"


def test_ticks_ask_only_open_markets_and_once_more_after_the_close(market):
    market.platform.execute("delete from instruments where symbol not in ('AAPL', 'BTC')")
    by_symbol = {"AAPL": AAPL, "BTC": BTC}
    asked: dict[str, list[datetime]] = {"AAPL": [], "BTC": []}
    starts = (MORNING - timedelta(minutes=3), CLOSE - timedelta(minutes=2))
    for start, count in zip(starts, (10, 30), strict=True):
        for minute in range(count):
            now = start + timedelta(minutes=minute, seconds=2)
            tick = plan_tick(market.router, now)
            for symbol in tick.symbols:
                asked[symbol].append(now)
            if tick.symbols:
                chosen = [by_symbol[symbol] for symbol in tick.symbols]
                market.pull(now, chosen, tick.first.date(), tail_only=True)
    closed = [at for at in asked["AAPL"][1:] if not MORNING < at <= CLOSE + timedelta(minutes=1)]
    assert closed == []
    assert len(asked["BTC"]) == 40
    assert market.minutes("AAPL")[-390:] == expected(AAPL, MORNING, CLOSE)
    assert market.settled("AAPL").complete_to == CLOSE.timestamp()
