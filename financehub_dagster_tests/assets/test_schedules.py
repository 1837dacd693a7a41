"""All schedules and sensors alike: on, one run at a time, none for a kind of instrument that nobody has, a reason."""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile

import dagster as dg
import pytest
import yaml
from dagster._utils.schedules import cron_string_iterator

from financehub_dagster.automation.jobs.daily_close import daily_close_schedule
from financehub_dagster.automation.schedules import SCHEDULES
from financehub_dagster.cli import dagster_yaml
from financehub_dagster.market.instruments import AssetType
from financehub_dagster.storage.database.urls import beside
from financehub_dagster.tables import TABLES

WEDNESDAY = (datetime(2026, 11, 25, 14, 20, tzinfo=UTC), datetime(2026, 11, 25, 15, 0, tzinfo=UTC))
"""Ten minutes before New York opens, when prices are warmed up, and half an hour after."""
UPKEEP = {"cleanup_failed_tasks", "cleanup_old_data"}
"""What has to be done for a platform without instruments too."""
ONLY_FOR = {
    "fetch_yahoo_stocks": {AssetType.STOCK, AssetType.ETF, AssetType.INDEX},
    "fetch_binance_cryptos": {AssetType.CRYPTO},
    "fetch_fx_prices": {AssetType.FX},
    "fetch_stock_prices": {AssetType.STOCK, AssetType.ETF, AssetType.INDEX, AssetType.FX},
    "fetch_crypto_quotes": {AssetType.CRYPTO},
    "fetch_coingecko_cryptos": {AssetType.CRYPTO},
    "fetch_fundamentals": {AssetType.STOCK},
    "cache_warming": {AssetType.STOCK, AssetType.ETF, AssetType.INDEX},
    "calculate_indicators": {AssetType.STOCK, AssetType.ETF, AssetType.INDEX, AssetType.CRYPTO},
}
"""Jobs that only some kinds of instruments need."""


@pytest.fixture
def stored_runs(tmp_path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk: a tick does not get to see one in memory."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def evaluate(
    platform, instance: dg.DagsterInstance, at: datetime, jobs: Collection[str] = ()
) -> dict[str, dg.RunRequest | str]:
    """What each schedule, or that of each of `jobs`, answers to its tick at `at`: a request, or why there is none."""
    repository = platform.definitions.get_repository_def()
    answers: dict[str, dg.RunRequest | str] = {}
    for schedule in platform.definitions.schedules:
        if jobs and schedule.job_name not in jobs:
            continue
        resources = {name: platform.definitions.resources[name] for name in schedule.required_resource_keys}
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=repository, resources=resources
        ) as context:
            data = schedule.evaluate_tick(context)
        answers[schedule.job_name] = data.run_requests[0] if data.run_requests else str(data.skip_message or "")
    return answers


def asked_for(answers: dict[str, dg.RunRequest | str]) -> set[str]:
    """The jobs that a run was asked for; every other tick says why not."""
    assert [job for job, answer in answers.items() if answer == ""] == []
    return {job for job, answer in answers.items() if isinstance(answer, dg.RunRequest)}


def test_no_schedule_asks_for_a_run_while_one_of_its_job_has_not_ended(keyed_platform, stored_runs):
    for schedule in keyed_platform.definitions.schedules:
        stored_runs.add_run(dg.DagsterRun(job_name=schedule.job_name, status=dg.DagsterRunStatus.STARTED))
    answers = evaluate(keyed_platform, stored_runs, WEDNESDAY[1])
    assert answers == {job: f"a run of {job} has not ended yet" for job in answers}


def test_no_schedule_asks_for_a_run_over_instruments_that_nobody_has(keyed_platform, stored_runs):
    keyed_platform.execute("update instruments set is_active = false")
    assert asked_for(evaluate(keyed_platform, stored_runs, WEDNESDAY[1])) == UPKEEP
    for kind in AssetType:
        keyed_platform.execute("update instruments set is_active = (asset_type = :kind)", kind=str(kind))
        if keyed_platform.scalar("select count(*) from instruments where is_active"):
            answers = evaluate(keyed_platform, stored_runs, WEDNESDAY[1], ONLY_FOR.keys() - {"cache_warming"})
            answers |= evaluate(keyed_platform, stored_runs, WEDNESDAY[0], {"cache_warming"})
            assert asked_for(answers) == {job for job, kinds in ONLY_FOR.items() if kind in kinds}, kind


def test_indicators_are_computed_where_a_bar_has_changed_and_once_a_day(platform, stored_runs):
    platform.instance = stored_runs
    platform.execute("delete from instruments where symbol <> all(:chosen)", chosen=["AAPL", "KO"])
    now, job = datetime.now(UTC), "calculate_indicators"
    assert platform.run("stock_prices_daily", "2016-01-01", symbols=["AAPL"]).success
    assert asked_for(evaluate(platform, stored_runs, now, {job})) == {job}, "they were never computed"
    assert platform.run("indicators_daily", "2016-01-01").success
    assert asked_for(evaluate(platform, stored_runs, now, {job})) == {job}, "signals were never computed"
    assert platform.run("signals", "2016-01-01").success
    assert evaluate(platform, stored_runs, now, {job}) == {job: "no input has changed since it was computed"}
    assert asked_for(evaluate(platform, stored_runs, now + timedelta(hours=23), {job})) == {job}
    assert platform.run("stock_prices_daily", "2016-02-01", symbols=["AAPL"]).success
    assert asked_for(evaluate(platform, stored_runs, now, {job})) == {job}, "a month has new bars"
    platform.execute("update instruments set is_active = false where symbol = 'AAPL'")
    assert not asked_for(evaluate(platform, stored_runs, now, {job})), "only an inactive one has new bars"


def test_the_ledger_is_reported_where_it_has_changed(platform, stored_runs):
    platform.instance = stored_runs
    platform.execute("delete from instruments where symbol <> 'AAPL'")
    job, now = "report_coverage", datetime.now(UTC)
    reporting = platform.definitions.resolve_job_def(job)
    assert asked_for(evaluate(platform, stored_runs, now, {job})) == {job}
    assert reporting.execute_in_process(instance=stored_runs).success
    assert evaluate(platform, stored_runs, now, {job}) == {job: "the ledger counts what it did at the last report"}
    assert platform.run("stock_prices_daily", f"{now:%Y-%m}-01").success
    assert asked_for(evaluate(platform, stored_runs, now, {job})) == {job}, "gaps were filled"


def test_missed_ticks_are_one_tick(platform):
    """Dagster evaluates a schedule without partitions of its own once after an outage, for the latest of its ticks."""
    from dagster._core.remote_representation.external_data import ScheduleSnap

    repository = platform.definitions.get_repository_def()
    assert {ScheduleSnap.from_def(each, repository).partition_set_name for each in repository.schedule_defs} == {None}


def test_every_sensor_says_why_it_launches_nothing(platform, stored_runs, database, database_server, dagster_template):
    database_server.create(dagster_template, beside(database.engine.url).database)
    platform.execute("delete from instruments")
    repository = platform.definitions.get_repository_def()
    for sensor in platform.definitions.sensors:
        if isinstance(sensor, dg.AutomationConditionSensorDefinition):
            continue  # the daemon evaluates it, and says nothing
        resources = {name: platform.definitions.resources[name] for name in sensor.required_resource_keys}
        with dg.build_sensor_context(instance=stored_runs, repository_def=repository, resources=resources) as context:
            data = sensor.evaluate_tick(context)
        assert not data.run_requests, sensor.name
        assert data.skip_message, sensor.name


def test_the_deadline_of_a_table_follows_the_tick_that_fills_it_by_the_run_s_bound():
    """Over a year, changes of the clocks included; a holiday has its tick, so that it is not late."""
    crons = {job.name: (job.cron, job.timezone) for table in TABLES.values() for job in table.jobs if job.cron}
    crons["daily_close"] = (str(daily_close_schedule.cron_schedule), str(daily_close_schedule.execution_timezone))
    filled_by = {name: [job.name for job in table.jobs if job.cron] for name, table in TABLES.items()}
    filled_by["levels_daily"] = ["daily_close"]
    judged = 0
    for name, table in TABLES.items():
        if table.freshness is None:
            continue
        [job] = filled_by[name]
        cron, timezone = crons[job]
        ticks = [at.timestamp() for at in ticks_of(cron, timezone)]
        deadlines = ticks_of(table.freshness.by, table.freshness.timezone)[2:]
        for deadline in takewhile(lambda at: at.timestamp() <= ticks[-1], deadlines):  # noqa: B023 - used at once
            before = deadline.timestamp() - ticks[bisect_right(ticks, deadline.timestamp()) - 1]
            assert table.runtime is not None
            assert table.runtime.total_seconds() <= before <= table.freshness.within.total_seconds(), (name, deadline)
            judged += 1
    assert judged > 1000


def test_what_came_of_a_tick_is_kept_until_the_next_one():
    kept = yaml.safe_load(dagster_yaml.packaged())["retention"]["schedule"]["purge_after_days"]
    longest = max(
        later - earlier
        for schedule in SCHEDULES
        for earlier, later in pairwise(ticks_of(str(schedule.cron_schedule), schedule.execution_timezone or "UTC"))
    )
    assert longest.days >= 7, "the journal is weekly"
    assert min(kept[outcome] for outcome in ("skipped", "success", "failure")) > longest.days, kept


def ticks_of(cron: str, timezone: str) -> list[datetime]:
    """The ticks of a year, or of the first 2,000."""
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    found = takewhile(lambda at: at.year == 2026, cron_string_iterator(start, cron, timezone))
    return list(islice(found, 2_000))
