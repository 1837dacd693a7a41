"""The observation of budgets: what the webserver shows of every vendor's plan, and how it changes over time."""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
import pytest

from financehub_dagster.assets.api_usage import observed
from financehub_dagster.definitions import build_definitions
from financehub_dagster.providers import all_providers
from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
from financehub_dagster.providers.budgets import budgets
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.rate_limits import api_keys, limiter, usage
from financehub_dagster.storage.rate_limits.usage import usage_report

CANARIES = ("canary-one-of-alpha", "canary-two-of-alpha")


@pytest.fixture
def definitions(database, monkeypatch) -> dg.Definitions:
    """The code location where only Alpha Vantage has keys, two of them."""
    for name in all_providers():
        monkeypatch.delenv(f"{name.upper()}_API_KEYS", raising=False)
        monkeypatch.delenv(f"{name.upper()}_BASE_URL", raising=False)
    monkeypatch.setenv("ALPHA_VANTAGE_API_KEYS", ",".join(CANARIES))
    get_settings.cache_clear()
    return build_definitions()


def observe(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Mapping[str, dg.MetadataValue]:
    """What one run of the job observes."""
    done = definitions.resolve_job_def("observe_api_usage").execute_in_process(instance=instance)
    [event] = [event for event in done.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    return event.asset_observation_data.asset_observation.metadata


def rows(metadata: Mapping[str, dg.MetadataValue]) -> list[dict]:
    table = metadata["budgets"]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def test_an_observation_shows_every_window_and_follows_what_is_used(definitions, database, instance):
    before = observe(definitions, instance)
    account = next(row["account"] for row in rows(before) if row["vendor"] == "alpha_vantage")
    provider = AlphaVantageProvider()
    limiter.reserve(database.engine, "alpha_vantage", account, provider.limits(), provider.quotas(), weight=1)
    usage.count(database.engine, "alpha_vantage", account, "ok")
    after = observe(definitions, instance)
    stored = instance.fetch_observations(dg.AssetKey("api_usage"), limit=10).records
    assert [row["window"] for row in rows(before)] == ["second", "minute", "second", "day", "second", "day"]
    assert before["alpha_vantage left per day"].value == 2 * 25
    assert after["alpha_vantage left per day"].value == 2 * 25 - 1
    assert after["alpha_vantage calls today"].value == 1
    [used] = [row for row in rows(after) if row["used"] == "1"]
    assert (used["account"], used["of"], used["left"], used["calls_today"]) == (account, "25", "24", 1)
    assert datetime.fromisoformat(f"{used['free_again_utc']}+00:00") > datetime.now(UTC)
    assert "finnhub (set FINNHUB_API_KEYS)" in str(after["off"].value)
    assert len(stored) == 2


def test_what_is_left_of_a_key_that_is_gone_is_nobodys(definitions, database):
    limiter.reserve(database.engine, "alpha_vantage", "gone-0000", (), AlphaVantageProvider().quotas(), weight=1)
    seen = observed(budgets(all_providers(), usage_report(database.engine)))
    assert seen["alpha_vantage left per day"].value == 2 * 25


def test_no_key_is_in_an_observation(definitions, database):
    api_keys.bench(database.engine, "alpha_vantage", "lpha-0000", cause="BadKey", reason="refused", seconds=60.0)
    seen = repr(observed(budgets(all_providers(), usage_report(database.engine))))
    assert "refused" in seen
    assert not any(canary in seen for canary in CANARIES)


def shown(definitions: dg.Definitions, instance: dg.DagsterInstance) -> bool:
    """Whether a tick of the sensor observes something; what it observes is stored, as the daemon does."""
    sensor = definitions.get_repository_def().get_sensor_def("observe_api_usage_sensor")
    resources = {name: (definitions.resources or {})[name] for name in sensor.required_resource_keys}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        tick = sensor.evaluate_tick(context)
    for event in tick.asset_events:
        instance.report_runless_asset_event(event)
    assert ("was observed" in str(tick.skip_message)) == bool(tick.asset_events)
    assert not tick.run_requests
    return bool(tick.asset_events)


def test_budgets_are_observed_without_a_run_where_one_has_changed(definitions, database, tmp_path, monkeypatch):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert shown(definitions, instance), "nothing was observed yet"
        assert not shown(definitions, instance)
        limiter.reserve(database.engine, "alpha_vantage", "gone-0000", (), AlphaVantageProvider().quotas(), weight=1)
        assert not shown(definitions, instance), "what is left of a key that is gone is nobody's"
        usage.count(database.engine, "alpha_vantage", "gone-0000", "ok")
        assert shown(definitions, instance), "a vendor was asked"
        observe(definitions, instance)
        assert not shown(definitions, instance), "a run of the job has observed the same"
        monkeypatch.setenv("FINNHUB_API_KEYS", "canary-of-finnhub")
        get_settings.cache_clear()
        assert shown(build_definitions(), instance), "another vendor has a key"
