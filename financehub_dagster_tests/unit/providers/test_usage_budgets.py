"""Budgets: what plans allow beside what the books say, for accounts that were used and for those that were not."""

import logging

import pytest

from financehub_dagster.providers import all_providers
from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
from financehub_dagster.providers.budgets import AccountBudget, Budgets, budgets
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.rate_limits import api_keys, limiter, usage
from financehub_dagster.storage.rate_limits.usage import usage_report
from financehub_dagster_tests.fixtures.database import Database

KEYS = {"ALPHA_VANTAGE_API_KEYS": "alpha-vantage-first,alpha-vantage-second", "NEWSAPI_API_KEYS": "a-key-of-newsapi"}
OTHERS = ("coingecko", "coinmarketcap", "finnhub", "twelve_data")


@pytest.fixture
def database(shared_database: Database) -> Database:
    """One for the module: these tests write the gateway's state alone."""
    return shared_database


@pytest.fixture
def plans(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Two vendors with keys, two that need none, four that are off; none of them is a stand-in."""
    for name in all_providers():
        monkeypatch.delenv(f"{name.upper()}_API_KEYS", raising=False)
        monkeypatch.delenv(f"{name.upper()}_BASE_URL", raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return database


def of(found: Budgets, provider: str) -> list[AccountBudget]:
    return [each for each in found.windows if each.provider == provider]


def scope(found: Budgets, provider: str) -> str:
    key = of(found, provider)[0].key
    assert key is not None
    return key


def test_what_was_never_used_is_listed_with_its_whole_plan(plans: Database) -> None:
    found = budgets(all_providers(), usage_report(plans.engine))
    assert [(each.window, each.amount, each.used, each.left) for each in of(found, "newsapi")] == [
        ("half_day", 50, 0, 50),
        ("day", 100, 0, 100),
    ]
    assert [each.window for each in of(found, "alpha_vantage")] == ["second", "day"] * 2
    assert len({each.key for each in of(found, "alpha_vantage")}) == 2
    assert {each.calls for each in found.windows} == {0}
    assert not any(secret in repr(found) for value in KEYS.values() for secret in value.split(","))


def test_calls_that_are_spaced_out_have_an_amount_and_nothing_to_use_up(plans: Database) -> None:
    found = budgets(all_providers(), usage_report(plans.engine))
    paced = {each.provider: (each.key, each.window, each.amount, each.used, each.left) for each in found.windows}
    assert paced["yahoo"] == (None, "second", 1, None, None)
    assert paced["binance"] == (None, "minute", 6000, None, None)


def test_vendors_without_a_key_are_off_and_name_their_variable(
    plans: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = budgets(all_providers(), usage_report(plans.engine))
    assert found.off == {name: f"{name.upper()}_API_KEYS" for name in OTHERS}
    assert not any(of(found, name) for name in OTHERS)
    assert caplog.messages == []


def test_what_is_booked_and_counted_shows_up_in_its_window(plans: Database) -> None:
    provider = AlphaVantageProvider()
    account = scope(budgets(all_providers(), usage_report(plans.engine)), "alpha_vantage")
    limiter.reserve(plans.engine, "alpha_vantage", account, provider.limits(), provider.quotas(), weight=1)
    usage.count(plans.engine, "alpha_vantage", account, "ok")
    first, second = [
        each
        for each in of(budgets(all_providers(), usage_report(plans.engine)), "alpha_vantage")
        if each.used is not None
    ]
    assert (first.key, first.used, first.left, first.calls) == (account, 1, 24, 1)
    assert first.resets_at is not None
    assert (second.used, second.left, second.calls) == (0, 25, 0)


def test_a_plan_that_grew_since_the_last_booking_leaves_more(plans: Database) -> None:
    account = scope(budgets(all_providers(), usage_report(plans.engine)), "alpha_vantage")
    free, paid = AlphaVantageProvider(), AlphaVantageProvider(requests_per_second=5, requests_per_day=1000)
    limiter.reserve(plans.engine, "alpha_vantage", account, free.limits(), free.quotas(), weight=1)
    found = [
        each for each in budgets({"alpha_vantage": paid}, usage_report(plans.engine)).windows if each.window == "day"
    ]
    assert [(each.used, each.amount, each.left) for each in found] == [(1, 1000, 999), (0, 1000, 1000)]


def test_a_resting_key_says_until_when_and_why(plans: Database) -> None:
    account = scope(budgets(all_providers(), usage_report(plans.engine)), "newsapi")
    api_keys.bench(plans.engine, "newsapi", account, cause="BadKey", reason="newsapi: refused", seconds=60.0)
    found = of(budgets(all_providers(), usage_report(plans.engine)), "newsapi")
    assert {each.reason for each in found} == {"newsapi: refused"}
    assert all(each.benched_until is not None for each in found)


def test_a_stand_in_that_was_used_is_kept_apart_from_the_vendor(plans: Database) -> None:
    usage.count(plans.engine, "yahoo", "ip@127.0.0.1:80", "ok", 3)
    assert [(each.place, each.calls) for each in of(budgets(all_providers(), usage_report(plans.engine)), "yahoo")] == [
        ("", 0),
        ("@127.0.0.1:80", 1),
    ]


def test_a_key_that_is_gone_is_forgotten_once_nothing_of_it_counts(plans: Database) -> None:
    quota = AlphaVantageProvider().quotas()
    limiter.reserve(plans.engine, "alpha_vantage", "gone-1f3c", (), quota, weight=1)
    found = budgets(all_providers(), usage_report(plans.engine))
    assert {each.key for each in found.windows if not each.configured} == {"gone-1f3c"}
    with plans.engine.begin() as connection:
        connection.exec_driver_sql("update quotas set expires = array_fill(now() - interval '1 s', array[1])")
    assert "gone-1f3c" not in {each.key for each in budgets(all_providers(), usage_report(plans.engine)).windows}
