"""The sample market's minutes add up to its days, keep each exchange's hours, and are the same for whoever asks."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.market.listings import default_listing, synthetic
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.minutes import Bars

NOON = datetime(2026, 6, 12, 16, 0, tzinfo=UTC).timestamp()
DAX = Instrument("DAX", "DAX", AssetType.INDEX, "XETR", "EUR", "Europe/Berlin")
EURUSD = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX")
TOKYO = synthetic(1, "JP", exchange="XTKS")[0]
LONDON = synthetic(1, "UK", exchange="XLON")[0]
SEOUL = synthetic(1, "KR", exchange="XKRX")[0]  # a lunch break that was given up in 2000


@pytest.fixture
def market() -> Market:
    return Market((*default_listing(), DAX, EURUSD, TOKYO, LONDON, SEOUL), now=lambda: NOON)


def instrument(market: Market, symbol: str) -> Instrument:
    found = market.listed.get(symbol)
    assert found is not None
    return found


def bars(market: Market, of: Instrument, first: str, last: str, seconds: int = 60, **options: bool) -> Bars:
    edges = (datetime.fromisoformat(edge).replace(tzinfo=UTC).timestamp() for edge in (first, last))
    return market.intraday(of, seconds, *edges, vendor="yahoo", **options)


def wall_clock(found: Bars, timezone: str) -> list[time]:
    zone = ZoneInfo(timezone)
    return [datetime.fromtimestamp(at, zone).time() for at in found.open_time.tolist()]


@pytest.mark.parametrize("symbol", ["AAPL", "GE", "BRK.B", "BTC", "DOGE", "DAX", "EURUSD", TOKYO.symbol, SEOUL.symbol])
def test_the_minutes_of_finished_days_add_up_to_the_days(market: Market, symbol: str) -> None:
    of = instrument(market, symbol)
    days = market.daily(of)[-61:-1]
    for row in range(len(days)):
        found = market.intraday(of, 60, int(days.opens[row]), int(days.closes[row]) - 1, vendor="binance")
        assert len(np.unique(found.open_time)) == len(found)
        assert found.open[0] == days.open[row]
        assert found.close[-1] == days.close[row]
        assert found.high.max() == days.high[row]
        assert found.low.min() == days.low[row]
        assert found.volume.sum() == pytest.approx(days.volume[row], rel=1e-9)
        assert (found.low <= np.minimum(found.open, found.close)).all()
        assert (found.high >= np.maximum(found.open, found.close)).all()


def test_a_minute_is_the_same_whatever_range_and_bars_are_asked_for(market: Market) -> None:
    apple = instrument(market, "AAPL")
    day = bars(market, apple, "2026-06-10T00:00", "2026-06-10T23:59")
    later = bars(market, apple, "2026-06-10T15:00", "2026-06-10T15:29")
    fives = bars(market, apple, "2026-06-10T15:00", "2026-06-10T15:29", 300)
    inside = np.isin(day.open_time, later.open_time)
    assert day.close[inside].tolist() == later.close.tolist()
    assert len(fives) == 6
    assert (fives.close[-1], fives.high.max()) == (later.close[-1], later.high.max())


def test_sessions_have_their_exchanges_hours_half_days_and_breaks(market: Market) -> None:
    apple = instrument(market, "AAPL")
    half = wall_clock(bars(market, apple, "2025-11-28T00:00", "2025-11-28T23:59"), "America/New_York")
    assert (half[0], half[-1]) == (time(9, 30), time(12, 59))
    assert len(bars(market, apple, "2025-01-09T00:00", "2025-01-09T23:59")) == 0  # a day of mourning
    tokyo = wall_clock(bars(market, TOKYO, "2026-06-10T00:00", "2026-06-10T23:59"), "Asia/Tokyo")
    assert (tokyo[0], tokyo[-1]) == (time(9), time(15, 29))
    assert not any(time(11, 30) <= at < time(12, 30) for at in tokyo)
    london = wall_clock(bars(market, LONDON, "2026-06-10T00:00", "2026-06-10T23:59"), "Europe/London")
    assert (london[0], london[-1]) == (time(8), time(16, 29))


@pytest.mark.parametrize(("week", "closes_at"), [("2026-03-02", 22), ("2026-03-09", 21), ("2026-11-02", 22)])
def test_currencies_trade_from_sunday_to_friday_at_five_in_new_york(week: str, closes_at: int) -> None:
    market = Market((EURUSD,), now=lambda: datetime(2026, 12, 1, tzinfo=UTC).timestamp())
    monday = date.fromisoformat(week)
    found = bars(market, EURUSD, f"{monday}T00:00", f"{monday.replace(day=monday.day + 6)}T12:00")
    ends = datetime.fromtimestamp(int(found.open_time[-1]) + 60, UTC)
    assert (ends.weekday(), ends.hour, ends.minute) == (4, closes_at, 0)
    closes = {datetime.fromtimestamp(at, UTC).hour for at in market.daily(EURUSD).closes[-150:].tolist()}
    assert closes == {21, 22}


def test_cryptos_and_indices_miss_no_minute_and_some_stocks_do(market: Market) -> None:
    span = ("2026-06-09T00:00", "2026-06-10T23:59")
    assert len(bars(market, instrument(market, "BTC"), *span)) == 2 * 1440
    assert len(bars(market, DAX, *span)) == 2 * 510
    counts = {each.symbol: len(bars(market, each, *span)) for each in market.listed if each.exchange == "XNYS"}
    assert max(counts.values()) == 2 * 390
    assert 0 < sum(count < 2 * 390 for count in counts.values()) < len(counts)


def test_the_running_minute_grows_and_later_ones_are_not_there_yet(market: Market) -> None:
    apple = instrument(market, "AAPL")
    market.frozen_at = NOON + 30
    running = bars(market, apple, "2026-06-12T15:55", "2026-06-12T17:00")
    assert running.open_time[-1] == NOON
    market.frozen_at = NOON + 60
    over = bars(market, apple, "2026-06-12T15:55", "2026-06-12T16:00:59")
    assert over.open_time[-1] == NOON
    assert (running.open[-1], running.volume[-1] < over.volume[-1]) == (over.open[-1], True)


def test_minutes_can_be_changed_and_taken_away_and_put_back(market: Market) -> None:
    bitcoin, at = instrument(market, "BTC"), int(NOON) - 3600
    span = ("2026-06-12T14:50", "2026-06-12T15:20")
    before = bars(market, bitcoin, *span)
    market.amendments.edit_minute("BTC", at, {"close": 1.0})
    market.amendments.drop_minutes("BTC", at + 60, at + 12 * 60, "yahoo")
    after = bars(market, bitcoin, *span)
    assert (len(before), len(after)) == (31, 20)
    assert after.close[after.open_time == at].tolist() == [1.0]
    elsewhere = market.intraday(bitcoin, 60, at, at + 1200, vendor="binance")
    assert len(elsewhere) == 21
    market.amendments.restore_minutes("BTC")
    assert bars(market, bitcoin, *span).close.tolist() == before.close.tolist()
