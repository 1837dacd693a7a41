"""`levels_daily` and `pivot_points`: each trade date has the session before it, across weekends and holidays."""

from datetime import UTC, date, datetime

import pytest

from financehub_dagster.assets.derived_table import not_closed
from financehub_dagster.automation.jobs.daily_close import closes_at
from financehub_dagster.automation.runs import run_job
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments

TABLES = ["stock_prices_daily", "crypto_prices_daily", "fx_prices_daily", "levels_daily", "pivot_points"]
SAP = Instrument("SAP", "SAP", AssetType.STOCK, "XETR", "EUR", "Europe/Berlin")
MSFT = Instrument("MSFT", "Microsoft", AssetType.STOCK, "XNAS", "USD", "America/New_York")
EURUSD = Instrument("EURUSD", "Euro", AssetType.FX, "XXXX", "USD", "America/New_York")


@pytest.fixture(scope="module")
def database_template(filled):
    """The winter of 2024 to 2025 of a stock and a crypto, with levels and pivot points."""

    def with_levels(platform) -> None:
        outcome = platform.run(TABLES, "2024-12-01", "2025-01-01", symbols=["AAPL", "BTC"])
        assert outcome.success, outcome.error

    return filled(with_levels)


def levels(platform, symbol: str, day: str) -> list[tuple]:
    query = "select session, high, low, close from levels_daily where symbol = :symbol and date = :day"
    return platform.rows(query, symbol=symbol, day=day)


def bar(platform, table: str, symbol: str, day: str) -> list[tuple]:
    query = f"select date, high, low, close from {table} where symbol = :symbol and date = :day"
    return platform.rows(query, symbol=symbol, day=day)


def test_a_trade_date_has_the_values_of_the_session_before_it_across_weekends_holidays_and_special_closures(platform):
    for day, before in (
        ("2025-01-06", "2025-01-03"),  # a Monday
        ("2025-01-10", "2025-01-08"),  # closed on the 9th, a day of mourning
        ("2024-12-26", "2024-12-24"),  # Christmas, after a half day
        ("2025-01-21", "2025-01-17"),  # Martin Luther King's day
    ):
        found = levels(platform, "AAPL", day)
        assert found == bar(platform, "stock_prices_daily", "AAPL", before), day
        assert found[0][0] == date.fromisoformat(before)
    assert levels(platform, "AAPL", "2025-01-09") == []
    assert levels(platform, "BTC", "2025-01-05") == bar(platform, "crypto_prices_daily", "BTC", "2025-01-04")


def test_pivot_points_are_those_of_the_floor_traders(platform):
    platform.execute(
        "update stock_prices_daily set open = 100, high = 110, low = 95, close = 104"
        " where symbol = 'AAPL' and date = '2025-01-03'"
    )
    platform.execute("update dirty_marks set dirty_from = '2025-01-03', version = version + 1 where symbol = 'AAPL'")
    assert platform.run("pivot_points", "2025-01-01", symbols=["AAPL"]).success
    query = "select pp, r1, s1, r2, s2 from pivot_points where symbol = 'AAPL' and date = '2025-01-06'"
    assert platform.rows(query) == [(103, 111, 96, 118, 88)]
    assert platform.scalar("select count(*) from price_revisions where table_name = 'pivot_points'") == 1


def test_a_level_leaves_with_its_bar_and_the_older_session_never_takes_its_place(platform):
    platform.execute("delete from stock_prices_daily where symbol = 'AAPL' and date = '2025-01-08'")
    platform.execute(
        "update dirty_marks set dirty_from = '2025-01-08', version = version + 1"
        " where symbol = 'AAPL' and table_name = 'levels_daily'"
    )
    assert platform.run("levels_daily", "2025-01-01", symbols=["AAPL"]).success
    assert levels(platform, "AAPL", "2025-01-10") == []
    assert levels(platform, "AAPL", "2025-01-13") != []
    withdrawn = "select date, withdrawn_by from price_revisions where table_name = 'levels_daily'"
    assert platform.rows(withdrawn) == [(date(2025, 1, 10), "stock_prices_daily")]


def test_a_check_names_the_trade_dates_without_a_row(platform):
    platform.execute("delete from levels_daily where symbol = 'AAPL' and date in ('2024-12-10', '2025-01-10')")
    outcome = platform.run("pivot_points", "2024-12-01", "2025-01-01", symbols=["AAPL"], checked=True)
    assert platform.checks(outcome, "pivot_points")["no_missing_levels"].passed
    platform.execute("delete from pivot_points where symbol = 'AAPL' and date = '2025-01-21'")
    platform.execute("create function kept() returns trigger language plpgsql as $$ begin return null; end $$")
    platform.execute(
        "create trigger kept before insert on pivot_points for each row"
        " when (new.date = '2025-01-21') execute function kept()"
    )
    outcome = platform.run("pivot_points", "2024-12-01", "2025-01-01", symbols=["AAPL"], checked=True)
    check = platform.checks(outcome, "pivot_points")["no_missing_levels"]
    assert not check.passed
    assert "1 of " in (check.description or "")


def test_what_has_not_closed_yet_is_named():
    found = not_closed([EURUSD, Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC")])
    named = found["not_closed"].value
    assert "BTC" in str(named)  # a crypto's day is never over
    assert ("EURUSD" in str(named)) == (datetime.now(UTC).weekday() < 5)


def test_a_daily_close_asks_for_what_has_closed_and_is_not_stored(platform):
    platform.execute("delete from instruments where symbol not in ('AAPL', 'BTC')")
    in_transaction(lambda connection: upsert_instruments(connection, [SAP, MSFT, EURUSD]))
    wednesday = datetime(2024, 12, 18, 19, 59, tzinfo=UTC)  # 20:59 in Berlin
    platform.execute("delete from stock_prices_daily where date >= '2024-12-18'")
    platform.execute("delete from crypto_prices_daily where date >= '2024-12-18'")
    found = closes_at(wednesday)
    # AAPL has its bar of Tuesday, BTC that of yesterday; MSFT has none at all, nor has the pair of currencies.
    assert {table: sorted(symbols) for table, symbols in found.due.items()} == {
        "stock_prices_daily": ["MSFT", "SAP"],
        "crypto_prices_daily": [],
        "fx_prices_daily": ["EURUSD"],
    }
    assert sorted(found.waiting) == ["AAPL", "BTC", "EURUSD", "MSFT"]
    late = closes_at(datetime(2024, 12, 18, 16, 35, tzinfo=UTC))  # five minutes after Xetra's close, MSFT as before
    assert sorted(late.due["stock_prices_daily"]) == ["MSFT", "SAP"]


def test_a_daily_close_stores_bars_before_levels_and_asks_nobody_twice(platform):
    platform.execute("delete from instruments where symbol not in ('AAPL', 'BTC')")

    def launch() -> int:
        before = sum(platform.sandbox.calls(vendor)["total"] for vendor in ("yahoo", "binance"))
        outcome = run_job(platform.definitions.get_repository_def(), "daily_close", {}, instance=platform.instance)
        assert outcome.success, outcome.error
        return sum(platform.sandbox.calls(vendor)["total"] for vendor in ("yahoo", "binance")) - before

    assert launch() > 0
    for symbol, table in (("AAPL", "stock_prices_daily"), ("BTC", "crypto_prices_daily")):
        newest = platform.scalar(f"select max(date) from {table} where symbol = :symbol", symbol=symbol)
        assert newest > date(2025, 1, 31)
        known = platform.scalar("select max(session) from levels_daily where symbol = :symbol", symbol=symbol)
        assert known == newest
    assert launch() == 0
