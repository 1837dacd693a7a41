"""The usage report: used and left per vendor, key and window, and which keys rest why."""

from datetime import UTC, datetime

import pytest

from financehub_dagster.storage.rate_limits import api_keys, limiter, quotas, usage
from financehub_dagster.storage.rate_limits.quotas import Quota, Reading
from financehub_dagster.storage.rate_limits.usage import UsageRow, usage_report
from financehub_dagster_tests.fixtures.database import Database

MONTH = Quota("month", 100, per="month")


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


def only(database: Database, window: str) -> UsageRow:
    found = [row for row in usage_report(database.engine) if row.window == window]
    assert len(found) == 1
    return found[0]


def test_nothing_is_reported_before_the_first_call(database: Database) -> None:
    assert usage_report(database.engine) == []


def test_a_vendor_that_counts_the_address_has_no_key(database: Database) -> None:
    usage.count(database.engine, "binance", "ip", "ok", 2)
    usage.count(database.engine, "binance", "ip", "Transient", 2)
    row = only(database, "today")
    assert (row.provider, row.key, row.place, row.used, row.calls) == ("binance", None, "", 4, 2)
    assert (row.amount, row.left, row.resets_at, row.benched_until) == (None, None, None, None)


def test_used_and_left_of_a_quota_with_its_reset(database: Database) -> None:
    limiter.reserve(database.engine, "coingecko", "abcd-1f3c@127.0.0.1:80", (), (MONTH,), weight=30)
    row = only(database, "month")
    assert (row.provider, row.key, row.place) == ("coingecko", "abcd-1f3c", "@127.0.0.1:80")
    assert (row.used, row.amount, row.left) == (30, 100, 70)
    assert row.resets_at is not None
    ends = (MONTH.resets_after(datetime.now(UTC)), MONTH.resets_after(MONTH.resets_after(datetime.now(UTC))))
    assert min(abs((row.resets_at - end).total_seconds() - MONTH.margin) for end in ends) < 2


def test_a_vendor_that_counts_more_than_the_plan_leaves_nothing(database: Database) -> None:
    quotas.add(database.engine, "v", "ip", (MONTH,), 1)
    quotas.correct(database.engine, "v", "ip", (MONTH,), [Reading("month", 0)])
    quotas.add(database.engine, "v", "ip", (MONTH,), 10)
    row = only(database, "month")
    assert (row.used, row.left) == (110, 0)


def test_a_resting_key_is_reported_with_its_reason_even_when_unused_today(database: Database) -> None:
    api_keys.bench(database.engine, "finnhub", "abcd-1f3c", cause="BadKey", reason="finnhub: no", seconds=60.0)
    row = only(database, "today")
    assert (row.key, row.used, row.calls, row.reason) == ("abcd-1f3c", 0, 0, "finnhub: no")
    assert row.benched_until is not None
    assert (row.benched_until - datetime.now(UTC)).total_seconds() == pytest.approx(60, abs=5)


def test_a_bench_that_is_over_is_not_reported(database: Database) -> None:
    api_keys.bench(database.engine, "finnhub", "abcd-1f3c", cause="BadKey", reason="finnhub: no", seconds=0.0)
    assert usage_report(database.engine) == []
    assert api_keys.in_order(database.engine, "finnhub", ["abcd-1f3c"])[0].until is None


def test_a_shorter_rest_does_not_end_a_longer_one(database: Database) -> None:
    for seconds in (600.0, 1.0):
        api_keys.bench(database.engine, "finnhub", "a", cause="BadKey", reason=f"{seconds}", seconds=seconds)
    assert api_keys.in_order(database.engine, "finnhub", ["a"])[0].reason == "600.0"


def test_keys_are_ordered_by_what_they_used_today_and_the_resting_come_last(database: Database) -> None:
    for scope, weight in (("a", 5), ("b", 2), ("c", 1)):
        api_keys.use(database.engine, "v", scope, weight)
    api_keys.bench(database.engine, "v", "c", cause="BadKey", reason="no", seconds=60.0)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("insert into api_keys (provider, scope, day, used) values ('v','d','2020-01-01',99)")
    assert [state.scope for state in api_keys.in_order(database.engine, "v", ["a", "b", "c", "d", "e"])] == list(
        "debac"
    )
