"""`historical_seed` by the minute: resumed where it ended, and bars of the interval where nobody keeps minutes."""

import logging
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from financehub_dagster.automation.jobs.single_asset import Seed, days_window
from financehub_dagster.automation.runs import run_job
from financehub_dagster.cli.commands.backfill import INTERVALS
from financehub_dagster.cli.seed_runs import SeedRun, settled_days
from financehub_dagster.ingest.intraday.minutes import MinutesRun, update_minutes
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.tables import TABLES


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


def test_each_week_of_a_long_seed_is_stored_before_the_next_one_so_that_a_killed_one_goes_on(market, platform):
    now = datetime.now(UTC)
    pull = MinutesRun("ohlc_1m", market.router, days_window(20, now.date()), "a-seed", now)
    stored: list[tuple[int, int]] = []

    class Looks(logging.Handler):
        """Counts, after each batch, what another session sees."""

        def emit(self, record: logging.LogRecord) -> None:
            stored.append((len(market.minutes("BTC")), settled_days(SeedRun("BTC", "1m", 20), now)))

    log = logging.Logger("seed")
    log.addHandler(Looks())
    outcomes = update_minutes(pull, Universe(symbols=["BTC"]).instruments(TABLES["ohlc_1m"].instruments), log)
    week = 7 * 1440
    assert [minutes // week for minutes, _ in stored] == [1, 2, 2]
    assert all(of - days in (0, 1) for (_, days), of in zip(stored, (7, 14, 20), strict=True))
    assert outcomes["ohlc_1m"].done == ["BTC"]


def test_the_command_offers_the_intervals_of_the_job():
    assert get_args(Seed.model_fields["interval"].annotation) == INTERVALS
