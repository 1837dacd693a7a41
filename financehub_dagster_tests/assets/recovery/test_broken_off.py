"""A run tries a deadlock or serialization failure again, whatever it writes: nothing fails or is counted twice."""

from datetime import UTC, date, datetime, timedelta

from financehub_dagster.automation.jobs.healing import due_orders
from financehub_dagster.automation.runs import run_job
from financehub_dagster.market.holdings import Lot
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.operations import driving
from financehub_dagster.storage.database import transactions
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries.holdings import replace_lots
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.assets.snapshots.answers import days_ago, today
from financehub_dagster_tests.fixtures.broken_off import break_off_first_writes, never_written

STOCKS, CRYPTOS, INDICATORS = "stock_prices_daily", "crypto_prices_daily", "indicators_daily"
LEVELS = ("levels_daily", "pivot_points")
EURUSD = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX", "USD", aliases={"yahoo": "EURUSD=X"})
MARCH = "2015-03-01"
WEEKDAYS = 22
ACCEPTED = 21
"""Sessions of the month, one of which has an impossible bar."""


def test_every_table_is_written_although_its_first_write_was_broken_off(keyed_platform, sandbox, monkeypatch):
    platform = keyed_platform
    # One transaction writes up to nine tables, each of which is broken off once.
    monkeypatch.setattr(transactions, "TRIES", 12)
    monkeypatch.setattr(transactions, "LONGEST_WAIT_SECONDS", 0.01)
    sandbox.delist("GE")
    sandbox.set_bar("AAPL", date(2015, 3, 10), high=-1.0)
    sandbox.dividend("AAPL", date(2015, 3, 12), 0.5)
    break_off_first_writes(platform.engine)
    in_transaction(
        lambda connection: upsert_instruments(
            connection,
            [Instrument("NEW", "New", AssetType.STOCK, "XNYS"), EURUSD],
        )
    )

    stocks = platform.run([STOCKS, "corporate_actions", INDICATORS, *LEVELS, "signals"], MARCH, symbols=["AAPL", "GE"])
    assert stocks.success, stocks.error
    said = stocks.tables[STOCKS]
    assert (said["rows_inserted"], said["instruments_done"], said["instruments_failed"]) == (ACCEPTED, 1, 1)
    assert stocks.tables[INDICATORS]["rows_inserted"] == ACCEPTED
    sandbox.set_bar("AAPL", date(2015, 3, 11), volume=1.0)
    sandbox.set_bar("AAPL", date(2015, 3, 13), open=1.2, high=1.3, low=1.1, close=1.2)
    assert platform.run(STOCKS, MARCH, symbols=["AAPL"]).tables[STOCKS]["rows_updated"] == 2
    assert platform.run(CRYPTOS, "2018-03-01", symbols=["BTC"]).tables[CRYPTOS]["rows_inserted"] == 31
    currencies = platform.run("fx_prices_daily", "2018-03-01", symbols=["EURUSD"])
    assert currencies.success, currencies.error
    assert currencies.tables["fx_prices_daily"]["rows_inserted"] == WEEKDAYS
    month = datetime.now(UTC).date().replace(day=1).isoformat()
    for table, partition in {"quotes": today(), "crypto_markets": today(), "fundamentals": month}.items():
        outcome = platform.run(table, partition, symbols=["AAPL", "BTC"])
        assert outcome.success, outcome.error
        assert outcome.tables[table]["rows_inserted"] > 0
    midnight = datetime.combine(date.fromisoformat(today()), datetime.min.time(), UTC)
    sandbox.drop_minutes("BTC", midnight - timedelta(hours=2), midnight - timedelta(hours=1))
    assert platform.run("ohlc_1m", days_ago(1), today(), symbols=["BTC"]).tables["ohlc_1m"]["rows_inserted"] >= 1380
    hours = platform.run("indicators_1h", days_ago(1), today(), symbols=["BTC"]).tables["indicators_1h"]
    assert hours["rows_inserted"] >= 23
    assert platform.run("news_articles", days_ago(7), today(), symbols=["AAPL"]).success
    platform.execute("update task_failures set next_retry_at = now()")
    repository = platform.definitions.get_repository_def()
    assert run_job(repository, "replay_dead_letters", {}, instance=platform.instance).success
    assert platform.rows("select symbol, attempts, status from task_failures") == [("GE", 2, "open")]
    assert due_orders(platform.definitions.resources["daily_bars"], 1)
    size_and_announce_a_signal(platform)
    everyone = {"ops": {"compare_vendors": {"config": {"instruments": 100}}}}
    compared = run_job(repository, "reconcile_prices", everyone, instance=platform.instance)
    assert compared.success, compared.error
    assert driving.claim("a daemon") is None
    assert never_written(platform.engine) == [], "let this test write these tables too"


def size_and_announce_a_signal(platform) -> None:
    """A signal of today is sized by what is held, and announced in a dry run."""
    lots = [Lot("main", "AAPL", 10.0, 75.5, date(2014, 1, 2))]
    assert in_transaction(lambda connection: replace_lots(connection, lots)) == 0
    platform.execute(
        "insert into signals (symbol, date, rule, direction, value, level, price, computed_at)"
        " values ('AAPL', current_date, 'macd_zero', 'entry', 1, 0, 100, now())"
    )
    outcome = run_job(platform.definitions.get_repository_def(), "send_notifications", {}, instance=platform.instance)
    assert outcome.success, outcome.error
    assert outcome.tables["position_sizes"]["sized"] == outcome.tables["notifications"]["dry_run"] == 1
