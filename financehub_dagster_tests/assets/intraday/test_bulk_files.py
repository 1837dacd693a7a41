"""A long history of minutes by way of Binance's bulk files: the same rows and the same ledger as by the API alone."""

import logging
from datetime import UTC, date, datetime, timedelta

import pytest

from financehub_dagster.automation.runs import run_job
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings

BTC = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
NOW = datetime(2024, 3, 20, 12, tzinfo=UTC)
FIRST = date(2024, 2, 16)
DAYS = 14 + 19
COLUMNS = "symbol, ts, open, high, low, close, volume, source"


def asked(market) -> tuple[int, int]:
    """Requests for files, and to the API, since the last time."""
    paths = market.sandbox.calls("binance")["by_path"]
    market.sandbox.clear_calls()
    files = sum(count for path, count in paths.items() if path.startswith("/data/"))
    return files, sum(paths.values()) - files


def stored(market) -> list[tuple]:
    return market.platform.rows(f"select {COLUMNS} from ohlc_1m where symbol = 'BTC' order by ts")


@pytest.fixture
def by_the_api(market, monkeypatch):
    """What a pull without files stores, taken out again."""
    with monkeypatch.context() as environment:
        environment.setenv("FINANCEHUB_BULK_FILES", "off")
        get_settings.cache_clear()
        outcome = market.pull(NOW, [BTC], FIRST)["ohlc_1m"]
    get_settings.cache_clear()
    found = stored(market), market.settled("BTC")
    assert (len(found[0]), outcome.from_bulk_files) == (DAYS * 1440 + 720, 0)
    for table in ("ohlc_1m", "ohlc_5m", "ohlc_15m", "ohlc_1h", "minute_gaps", "minute_coverage"):
        market.platform.execute(f"delete from {table}")
    asked(market)
    return found


def test_files_and_the_api_store_the_same_rows_and_settle_the_same_minutes(market, by_the_api):
    rows, settled = by_the_api
    outcome = market.pull(NOW, [BTC], FIRST)["ohlc_1m"]
    assert stored(market) == rows
    assert market.settled("BTC") == settled
    assert {row[-1] for row in rows} == {"binance"}
    days = 18  # of March: no file of today and yesterday is asked for
    assert outcome.from_bulk_files == (14 + days) * 1440
    assert asked(market) == (2 + 2 * days, outcome.calls - 2 - 2 * days)
    assert market.pull(NOW, [BTC], FIRST)["ohlc_1m"].calls == 0


def test_a_minute_that_files_lack_is_fetched_and_only_one_that_the_api_lacks_is_a_gap(market):
    market.at(NOW)
    hole = datetime(2024, 2, 20, 3, tzinfo=UTC)
    market.sandbox.drop_minutes("BTC", hole, hole + timedelta(minutes=7))
    market.sandbox.fault("bulk_gap", vendor="binance", path="/data/spot")
    market.pull(NOW, [BTC], FIRST)
    [gap] = market.settled("BTC").stretches
    assert (gap.start, gap.stop) == (int(hole.timestamp()), int(hole.timestamp()) + 7 * 60)
    assert (gap.asked, gap.provider, gap.is_gap) == (1, "binance", True)
    assert len(stored(market)) == DAYS * 1440 + 720 - 7

    market.sandbox.restore_minutes("BTC")
    asked(market)
    outcome = market.pull(NOW + timedelta(minutes=15), [BTC], FIRST)["ohlc_1m"]
    assert market.settled("BTC").stretches == ()
    assert outcome.from_bulk_files == 0, "a gap is asked for at the API"
    assert asked(market) == (0, 2)


def test_a_pull_that_ends_between_weeks_goes_on_and_loses_no_minute(market, by_the_api):
    """As a killed run leaves it: some weeks are stored, and the file is fetched once more."""

    class Killed(Exception):
        pass

    class Kills(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise Killed

    log = logging.getLogger("test")
    handler = Kills(logging.INFO)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with pytest.raises(Killed):
            market.pull(NOW, [BTC], FIRST)
    finally:
        log.removeHandler(handler)
    assert 0 < len(stored(market)) < len(by_the_api[0])
    market.pull(NOW, [BTC], FIRST)
    assert stored(market) == by_the_api[0]
    assert market.settled("BTC").stretches == ()


def test_a_run_says_how_many_bars_came_from_files(market):
    repository = market.platform.definitions.get_repository_def()
    config = {"ops": {"seed_one": {"config": {"symbol": "BTC", "interval": "1m", "days": 4}}}}
    outcome = run_job(repository, "historical_seed", config, instance=market.platform.instance)
    assert outcome.success, outcome.error
    assert int(outcome.tables["ohlc_1m"]["bars_from_bulk_files"]) == 3 * 1440
