"""The ledger of minutes computed anew: from the stored minutes alone, as `gaps --rebuild` does."""

from datetime import UTC, datetime, timedelta

from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.archive import moving
from financehub_dagster.storage.coverage import minute_rebuild

AAPL = Instrument("AAPL", "Apple", AssetType.STOCK, "XNAS", "USD", "America/New_York")
BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
NOW = datetime(2026, 11, 24, 17, 30, tzinfo=UTC)
"""Three hours after New York's opening."""
HOLE = datetime(2026, 11, 24, 15, 40, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def test_a_ledger_that_is_right_stays_as_it_is(market):
    market.sandbox.drop_minutes("BTC", HOLE, HOLE + timedelta(minutes=11))
    market.pull(NOW, [AAPL, BTC], NOW.date())
    before = market.settled("BTC"), market.settled("AAPL")
    assert before[0].gaps
    assert minute_rebuild.rebuild(LATER) == 0
    assert (market.settled("BTC"), market.settled("AAPL")) == before


def test_minutes_that_were_lost_become_gaps_and_are_healed(market):
    market.pull(NOW, [AAPL, BTC], NOW.date())
    stored = {symbol: market.minutes(symbol) for symbol in ("AAPL", "BTC")}
    market.platform.execute(
        "delete from ohlc_1m where ts >= :start and ts < :stop", start=HOLE, stop=HOLE + timedelta(minutes=11)
    )
    assert minute_rebuild.rebuild(LATER) == 2
    for symbol in ("AAPL", "BTC"):
        [gap] = market.settled(symbol).gaps
        assert (gap.start, gap.stop, gap.asked) == (HOLE.timestamp(), HOLE.timestamp() + 660, 0)
    assert minute_rebuild.rebuild(LATER) == 0
    market.pull(NOW, [AAPL, BTC], NOW.date())
    assert {symbol: market.minutes(symbol) for symbol in stored} == stored
    assert market.settled("BTC").stretches == ()


def test_a_ledger_that_was_lost_or_edited_is_made_of_the_stored_minutes(market):
    market.pull(NOW, [AAPL, BTC], NOW.date())
    before = market.settled("BTC").complete_to
    market.platform.execute("delete from minute_coverage where symbol = 'AAPL'")
    market.platform.execute(
        "update minute_coverage set complete_to = :later where symbol = 'BTC'", later=LATER.replace(year=2030)
    )
    market.platform.execute(
        "insert into minute_gaps (symbol, start, stop, asked, provider, next_ask_at)"
        " values ('BTC', :start, :stop, 1, 'binance', now())",
        start=HOLE,
        stop=HOLE + timedelta(minutes=5),
    )
    assert minute_rebuild.rebuild(NOW) == 2
    assert market.settled("BTC").complete_to == before
    assert market.settled("BTC").stretches == ()
    assert market.settled("AAPL").complete_to == NOW.timestamp()
    assert market.settled("AAPL").stretches == ()
    calls = market.sandbox.calls("binance")["total"]
    market.pull(NOW, [BTC], NOW.date())
    assert market.sandbox.calls("binance")["total"] == calls


def test_minutes_in_the_archive_remain_settled(market, tmp_path, monkeypatch):
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    get_settings.cache_clear()
    old = datetime(2026, 8, 31, 22, 0, tzinfo=UTC)
    market.pull(old + timedelta(hours=3), [BTC], old.date())
    complete = market.settled("BTC")
    moved = moving.archive_month("ohlc_1m", old.date().replace(day=1))
    assert moved.rows > 1000
    assert market.minutes("BTC")[0] == datetime(2026, 9, 1, tzinfo=UTC)
    assert minute_rebuild.rebuild(NOW) == 0
    assert market.settled("BTC") == complete
