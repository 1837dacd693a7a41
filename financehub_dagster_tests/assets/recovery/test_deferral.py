"""Work that no vendor accepts is deferred to the reset: it is neither lost nor a failure, and the run does not wait."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.dead_letters import deferred_work
from financehub_dagster_tests.assets.conftest import Platform
from financehub_dagster_tests.assets.prices.routed import fetch_from, some_stocks, with_keys

MARCH = "2015-03-01"
TABLE = "stock_prices_daily"
PER_DAY = 8


@pytest.fixture
def rationed(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """The platform with an Alpha Vantage key that has a few calls in 24 hours, by our count and by the vendor's."""
    with_keys(platform, monkeypatch, "alpha_vantage", calls_per_day=PER_DAY)
    yield platform
    get_settings.cache_clear()


def numbers(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    """The metadata of a run's materialization."""
    (event,) = result.asset_materializations_for_node(TABLE)
    return {name: value.value for name, value in event.metadata.items()}


def a_day_later(platform: Platform) -> None:
    """Let 24 hours pass for our books and for the vendor's."""
    platform.execute("update quotas set expires = array(select e - interval '25 hours' from unnest(expires) as e)")
    platform.execute("update deferred_work set until = until - interval '25 hours'")
    platform.sandbox.limit("alpha_vantage", 2 * PER_DAY, 86_400.0)


def test_what_a_days_budget_does_not_reach_is_deferred_to_the_reset_and_done_after_it(rationed: Platform) -> None:
    symbols = some_stocks(rationed, PER_DAY + 5)
    started = datetime.now(UTC)
    told = numbers(fetch_from(rationed, ["alpha_vantage"], MARCH, symbols))
    assert rationed.sandbox.calls(vendor="alpha_vantage")["total"] == PER_DAY
    assert (told["instruments_done"], told["instruments_deferred"], told["instruments_failed"]) == (PER_DAY, 5, 0)
    assert rationed.scalar("select count(distinct symbol) from stock_prices_daily") == PER_DAY
    assert rationed.scalar("select count(*) from task_failures") == 0
    waiting = rationed.rows("select task_name, partition_key, provider, kwargs, until from deferred_work")
    assert len(waiting) == 5
    task, partition, provider, kwargs, until = waiting[0]
    assert (task, partition, provider) == (TABLE, MARCH, "alpha_vantage")
    assert kwargs["providers"] == ["alpha_vantage"]
    assert timedelta(hours=23) < until - started < timedelta(hours=25)

    a_day_later(rationed)
    again = numbers(fetch_from(rationed, ["alpha_vantage"], MARCH, [each for (each,) in waiting_symbols(rationed)]))
    assert (again["instruments_done"], again["instruments_deferred"]) == (5, 0)
    assert rationed.scalar("select count(*) from deferred_work") == 0
    assert rationed.scalar("select count(distinct symbol) from stock_prices_daily") == PER_DAY + 5


def test_no_call_is_wasted_on_half_an_answer_where_one_takes_two(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(platform, monkeypatch, "alpha_vantage", calls_per_day=5, premium=False)
    recent = (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1).isoformat()
    told = numbers(fetch_from(platform, ["alpha_vantage"], recent, some_stocks(platform, 6)))
    assert (told["instruments_done"], told["instruments_deferred"]) == (2, 4)
    assert platform.sandbox.calls(vendor="alpha_vantage")["by_status"] == {"200": 4}


def waiting_symbols(platform: Platform) -> list[tuple]:
    return platform.rows("select symbol from deferred_work where until < now() order by symbol")


def test_a_run_in_which_all_work_is_deferred_succeeds_and_warns(rationed: Platform) -> None:
    rationed.execute("update instruments set is_active = asset_type = 'stock'")
    rationed.sandbox.fault("status", vendor="yahoo", status=403)
    symbols = some_stocks(rationed, 40)
    fetch_from(rationed, ["alpha_vantage"], "2015-02-01", symbols[:PER_DAY])
    rationed.sandbox.clear_calls()
    outcome = rationed.run(TABLE, MARCH, symbols=symbols, checked=True)
    assert outcome.success, outcome.error
    assert rationed.sandbox.calls()["by_vendor"].get("alpha_vantage", 0) == 0
    assert rationed.sandbox.calls()["total"] <= 8
    assert outcome.tables[TABLE]["instruments_deferred"] == 40
    assert outcome.tables[TABLE]["deferred"].records[0].data["until"].endswith(" UTC")
    checks = rationed.checks(outcome, TABLE)
    assert checks["no_open_failures"].passed
    warning = checks["no_deferred_work"]
    assert not warning.passed
    assert warning.severity == dg.AssetCheckSeverity.WARN
    assert {provider for (provider,) in rationed.rows("select provider from deferred_work")} == {"yahoo"}


def test_work_is_a_dead_letter_or_deferred_and_never_both(platform: Platform) -> None:
    platform.sandbox.fault("status", vendor="yahoo", status=500)
    letters = "select count(*) from task_failures where symbol = 'AAPL' and status in ('open', 'retrying', 'parked')"
    waiting = "select count(*) from deferred_work"
    platform.run(TABLE, MARCH, symbols=["AAPL"])
    assert (platform.scalar(letters), platform.scalar(waiting)) == (1, 0)
    platform.execute("update breakers set open_until = now() + interval '1 hour', reason = 'down'")
    platform.run(TABLE, MARCH, symbols=["AAPL"])
    assert (platform.scalar(letters), platform.scalar(waiting)) == (0, 1)
    platform.execute("delete from breakers")
    platform.run(TABLE, MARCH, symbols=["AAPL"])
    assert (platform.scalar(letters), platform.scalar(waiting)) == (1, 0)
    platform.execute("update breakers set open_until = now() + interval '1 hour', reason = 'down'")
    platform.run(TABLE, MARCH, symbols=["AAPL"])
    platform.sandbox.clear_faults()
    platform.execute("delete from breakers")
    platform.run(TABLE, "2015-02-01", MARCH, symbols=["AAPL"])
    assert (platform.scalar(letters), platform.scalar(waiting)) == (0, 0)


def defer(partition: str, symbol: str = "AAPL", hours: int = 1) -> None:
    with transaction() as connection:
        until = datetime.now(UTC) + timedelta(hours=hours)
        reason = f"yahoo: {symbol}: spent"
        deferred_work.defer(connection, [deferred_work.Deferral(TABLE, partition, symbol, "yahoo", until, reason)])


@pytest.mark.usefixtures("database")
def test_work_that_is_done_settles_what_lies_within_it_and_nothing_else() -> None:
    inside, outside = ["2015-02-01", "2015-02-01...2015-03-01"], ["2015-01-01...2015-02-01", "2015-04-01"]
    for partition in inside + outside:
        defer(partition)
    defer("2015-03-01", "KO")
    with transaction() as connection:
        done = deferred_work.resolve_deferrals(connection, TABLE, date(2015, 2, 1), date(2015, 3, 31), ["AAPL"])
        left = deferred_work.live_deferrals(connection, TABLE)
    assert done == 2
    assert {(row["symbol"], row["partition_key"]) for row in left} == {
        *(("AAPL", partition) for partition in outside),
        ("KO", "2015-03-01"),
    }


@pytest.mark.usefixtures("database")
def test_work_deferred_again_waits_once_and_what_is_due_first_comes_first() -> None:
    defer(MARCH, hours=1)
    defer(MARCH, "KO", hours=2)
    defer(MARCH, hours=3)
    with transaction() as connection:
        assert [row["symbol"] for row in deferred_work.live_deferrals(connection)] == ["KO", "AAPL"]
        assert deferred_work.live_deferrals(connection, "crypto_prices_daily") == []
