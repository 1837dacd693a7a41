"""`reconcile_prices`: a second vendor's bars against the stored ones, within the budget, and what comes of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from financehub_dagster.definitions import build_definitions
from financehub_dagster.market.instruments import Instrument
from financehub_dagster.market.quality.reconciliation import rotation
from financehub_dagster.providers.base import DailyBars
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.transactions import in_transaction
from financehub_dagster.storage.identity.renaming import rename
from financehub_dagster_tests.assets.conftest import Platform

STOCKS = "stock_prices_daily"
SYMBOLS = ["AAPL", "MSFT"]
SINCE = date(2026, 1, 2)


def month_before_last() -> tuple[str, str]:
    first = datetime.now(UTC).date().replace(day=1)
    last = first - timedelta(days=1)
    return last.replace(day=1).isoformat(), first.isoformat()


@pytest.fixture
def stocked(keyed_platform: Platform) -> Platform:
    """Two stocks with bars of Yahoo, and nothing else to compare."""
    keyed_platform.execute("update instruments set is_active = symbol = any(:symbols)", symbols=SYMBOLS)
    keyed_platform.run(STOCKS, *month_before_last(), symbols=SYMBOLS)
    return keyed_platform


def reconcile(platform: Platform) -> dict[str, dg.MetadataValue]:
    job = platform.definitions.resolve_job_def("reconcile_prices")
    done = job.execute_in_process(instance=platform.instance)
    assert done.success
    [event] = [each for each in done.all_events if each.event_type_value == "STEP_OUTPUT"]
    return dict(event.step_output_data.metadata)


def calls(platform: Platform) -> int:
    by_vendor = platform.sandbox.calls()["by_vendor"]
    return sum(by_vendor.get(name, 0) for name in ("twelve_data", "alpha_vantage", "finnhub"))


def found(platform: Platform) -> list[tuple]:
    return platform.rows("select symbol, column_name, kind, source, vendor, off from discrepancies order by 1, 2")


def newest(platform: Platform) -> str:
    return str(platform.scalar(f"select max(date) - 5 from {STOCKS} where symbol = 'AAPL'"))


def test_equal_bars_leave_no_discrepancy_and_a_wrong_one_is_named_with_who_is_off(stocked: Platform) -> None:
    metadata = reconcile(stocked)
    assert metadata["instruments compared"].value == 2
    assert metadata["discrepancies"].value == 0
    assert found(stocked) == []
    stocked.execute(
        f"update {STOCKS} set close = close * 1.03, high = high * 1.04 where symbol = 'AAPL'"
        f" and date = (select max(date) from {STOCKS} where date <= cast(:day as date))",
        day=newest(stocked),
    )
    metadata = reconcile(stocked)
    assert found(stocked) == [
        ("AAPL", "close", "value", "yahoo", "twelve_data", "yahoo"),
        ("AAPL", "high", "value", "yahoo", "twelve_data", "yahoo"),
    ]
    rates = {(row["vendor"], row["column"], row["kind"]): row["differ"] for row in table(metadata["rates"])}
    assert rates["twelve_data", "close", "value"] == 1
    assert rates["twelve_data", "low", "none"] == 0
    assert table(metadata["off by majority"]) == [{"vendor": "yahoo", "values": 2}]
    outcome = stocked.run(STOCKS, month_before_last()[0], symbols=SYMBOLS, checked=True)
    check = stocked.checks(outcome, STOCKS)["no_discrepancies"]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "AAPL" in str(check.description)


def test_what_agrees_again_is_no_discrepancy_any_more(stocked: Platform) -> None:
    insert = (
        "insert into discrepancies (table_name, symbol, date, column_name, vendor, kind, source, stored, told)"
        f" values ('{STOCKS}', 'AAPL', cast(:day as date), 'close', 'twelve_data', 'value', 'yahoo', 1, 2)"
    )
    stocked.execute(insert, day=newest(stocked))
    reconcile(stocked)
    assert found(stocked) == []


def test_a_vendor_is_left_alone_once_half_of_its_budget_is_used(stocked: Platform, monkeypatch) -> None:
    for name in ("ALPHA_VANTAGE_API_KEYS", "FINNHUB_API_KEYS"):
        monkeypatch.delenv(name)
    get_settings.cache_clear()
    before = calls(stocked)
    two_a_day = TwelveDataProvider(credits_per_minute=10_000, credits_per_day=2, first_pause=0.0)
    overrides = {**stocked.overrides, "twelve_data": two_a_day}
    platform = replace(stocked, definitions=build_definitions(resource_overrides=overrides))
    metadata = reconcile(platform)
    assert calls(platform) - before == metadata["requests"].value == 1
    assert metadata["instruments compared"].value == 1
    reasons = {row["why"]: row["times"] for row in table(metadata["not compared"])}
    assert reasons == {"twelve_data has no budget to spare": 1, "no other vendor could be asked": 1}


def test_what_was_compared_of_an_instrument_that_is_renamed_meanwhile_is_not_kept(stocked: Platform) -> None:
    class Renames(TwelveDataProvider):
        def daily_bars(self, instrument: Instrument, start: date, end: date) -> DailyBars:
            if instrument.symbol == "AAPL":
                in_transaction(lambda connection: rename(connection, "AAPL", "APPLE", SINCE, {"twelve_data": "AAPL"}))
            return super().daily_bars(instrument, start, end)

    overrides = {**stocked.overrides, "twelve_data": Renames(credits_per_minute=10_000, credits_per_day=10_000)}
    platform = replace(stocked, definitions=build_definitions(resource_overrides=overrides))
    metadata = reconcile(platform)
    reasons = {row["why"]: row["times"] for row in table(metadata["not compared"])}
    assert reasons == {"it was renamed meanwhile": 1}
    assert platform.rows("select distinct symbol from measured_bars") == [("MSFT",)]


def table(value: object) -> list[dict]:
    return [dict(record.data) for record in value.records]  # type: ignore[attr-defined]


def test_the_sample_rotates_over_the_instruments() -> None:
    today = datetime.now(UTC).date()
    both = rotation(SYMBOLS, today, 1) + rotation(SYMBOLS, today + timedelta(days=1), 1)
    assert sorted(both) == SYMBOLS
