"""`historical_seed` by the minute: resumed where it ended, and bars of the interval where nobody keeps minutes."""

from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster.automation.runs import run_job


@pytest.fixture
def seed(market):
    """Runs the job."""
    repository = market.platform.definitions.get_repository_def()

    def run(symbol: str, interval: str, days: int) -> bool:
        config = {"ops": {"seed_one": {"config": {"symbol": symbol, "interval": interval, "days": days}}}}
        outcome = run_job(repository, "historical_seed", config, instance=market.platform.instance)
        assert outcome.success, outcome.error
        return outcome.success

    return run


def test_a_seed_stores_every_minute_and_the_next_one_asks_only_for_what_is_older(market, seed):
    assert seed("BTC", "1m", 2)
    stored, calls = len(market.minutes("BTC")), market.sandbox.calls("binance")["total"]
    assert stored >= 2 * 1440
    assert market.settled("BTC").stretches == ()
    assert seed("BTC", "1m", 3)
    assert len(market.minutes("BTC")) >= stored + 1440
    assert market.settled("BTC").stretches == ()
    assert market.sandbox.calls("binance")["total"] - calls <= 4, "a day and what has ended since"


def test_where_nobody_keeps_minutes_bars_of_the_interval_are_fetched_once(market, seed):
    assert seed("AAPL", "1h", 75)
    oldest = datetime.now(UTC) - timedelta(days=60)
    old = [at for at in market.minutes("AAPL", "ohlc_1h") if at < oldest]
    assert len(old) > 40
    assert market.minutes("AAPL")[0] > oldest
    assert market.platform.rows("select distinct source from ohlc_1h") == [("yahoo",)]
    calls = market.sandbox.calls("yahoo")["total"]
    assert seed("AAPL", "1h", 75)
    assert market.sandbox.calls("yahoo")["total"] - calls <= 1
