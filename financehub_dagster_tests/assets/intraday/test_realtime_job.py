"""The schedule of `realtime_pull`: what it asks for is a run that does it, and shows the plan."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from financehub_dagster.automation.jobs.realtime import JOB, realtime_pull_schedule


def tick(platform, instance, now: datetime) -> tuple[list[dg.RunRequest], str]:
    """The runs that a tick asks for, or why it asks for none."""
    names = realtime_pull_schedule.required_resource_keys
    with dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=now,
        repository_def=platform.definitions.get_repository_def(),
        resources={name: platform.definitions.resources[name] for name in names},
    ) as context:
        found = realtime_pull_schedule.evaluate_tick(context)
    return list(found.run_requests or []), found.skip_message or ""


@pytest.fixture
def local_instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    """An instance that a schedule's context can refer to."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def test_a_tick_launches_a_run_that_stores_what_is_due_and_the_next_one_has_nothing_to_do(platform, local_instance):
    platform.execute("delete from instruments where symbol <> 'BTC'")
    now = datetime.now(UTC)
    [request], _ = tick(platform, local_instance, now)
    job = platform.definitions.resolve_job_def(JOB)
    done = job.execute_in_process(run_config=request.run_config, tags=request.tags, instance=platform.instance)
    assert done.success
    made = [
        event.step_materialization_data.materialization for event in done.all_events if event.is_step_materialization
    ]
    [event] = [each for each in made if each.asset_key.path == ["ohlc_1m"] and each.partition == f"{now:%F}"]
    assert "symbols asked: BTC" in str(event.metadata["plan_binance"].value)
    assert platform.scalar("select count(*) from ohlc_1m") > 1440
    requests, reason = tick(platform, local_instance, now)
    assert requests == []
    assert "nothing is due: 1" in reason


def test_no_vendor_s_instruments_take_all_the_calls_of_a_tick(platform, local_instance, monkeypatch):
    monkeypatch.setattr("financehub_dagster.automation.jobs.realtime.MOST_CALLS", 2)
    platform.execute("delete from instruments where symbol not in ('AAPL', 'MSFT', 'BTC', 'ETH')")
    [request], _ = tick(platform, local_instance, datetime(2026, 11, 25, 20, 0, tzinfo=UTC))  # a Wednesday, all open
    asked = request.run_config["ops"]["ohlc_1m"]["config"]["symbols"]
    assert [symbol in ("BTC", "ETH") for symbol in asked] in ([True, False], [False, True])
