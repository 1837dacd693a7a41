"""What a killed process leaves is put right: its run, its undone steps, its rows without an event, its claims."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.definitions.run_status_sensor_definition import RunStatusSensorCursor
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    GRPC_INFO_TAG,
    PARENT_RUN_ID_TAG,
    ROOT_RUN_ID_TAG,
)

from financehub_dagster.automation.failures import failed_runs
from financehub_dagster.automation.failures.lost_runs import PROCESS_TAG, tags_of_this_process
from financehub_dagster.automation.failures.recovery import Recovered, recover
from financehub_dagster.automation.runs import run_job
from financehub_dagster.automation.sensors import dead_letter_failed_runs, replay_dead_letters_sensor
from financehub_dagster.automation.sensors import recovery as recovery_sensor
from financehub_dagster.ingest.outcome import REPLAY_TAG
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.lineage.pending_materializations import note_write
from financehub_dagster.tables import CATCHING_UP

STOCKS, INDICATORS = "stock_prices_daily", "indicators_daily"
RANGE = {ASSET_PARTITION_RANGE_START_TAG: "2015-02-01", ASSET_PARTITION_RANGE_END_TAG: "2015-04-01"}


def dead_process() -> dict[str, str]:
    """The tag of a process that has ended."""
    show = "from financehub_dagster.storage.database.processes import identity; print(identity())"
    ended = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    return {PROCESS_TAG: ended.stdout.strip()}


def started(platform, tables: list[str], tags: dict[str, str], symbols: list[str] | None = None) -> str:
    """A run that has begun, as its process left it."""
    keys = frozenset(dg.AssetKey(table) for table in tables)
    job = platform.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    config = {"ops": {table: {"config": {"symbols": symbols}} for table in tables}} if symbols else {}
    run = platform.instance.create_run_for_job(
        job, run_config=config, asset_selection=keys, status=dg.DagsterRunStatus.STARTED, tags={**RANGE, **tags}
    )
    return run.run_id


def recovered(platform) -> Recovered:
    return recover(platform.instance, datetime.now(UTC))


def letters(platform) -> list[tuple]:
    query = "select task_name, partition_key, symbol, kwargs -> 'symbols', attempts, status, run_id from task_failures"
    return platform.rows(f"{query} order by id")


def test_a_run_whose_process_is_gone_fails_and_its_steps_become_dead_letters_once(platform):
    killed = started(platform, [STOCKS, INDICATORS], dead_process(), ["GE"])
    going_on = started(platform, [STOCKS], tags_of_this_process())
    assert recovered(platform) == Recovered([killed], unfinished_steps=2)
    assert recovered(platform) == Recovered()
    status = {run.run_id: run.status for run in platform.instance.get_runs()}
    assert status == {killed: dg.DagsterRunStatus.FAILURE, going_on: dg.DagsterRunStatus.STARTED}
    where = ("2015-02-01...2015-04-01", "", ["GE"], 1, "open", killed)
    assert sorted(letters(platform)) == [(INDICATORS, *where), (STOCKS, *where)]


@pytest.mark.parametrize(
    "tag",
    [
        {"host": "another-machine", "pid": 1, "started": 1.0},
        {"host": socket.gethostname(), "pid": os.getpid(), "started": None},
    ],
    ids=["another machine", "ours"],
)
def test_a_process_that_may_be_alive_keeps_its_run(platform, tag):
    own = json.loads(tags_of_this_process()[PROCESS_TAG])
    tag = {key: own[key] if value is None else value for key, value in tag.items()}
    started(platform, [STOCKS], {PROCESS_TAG: json.dumps(tag)})
    assert not recovered(platform)


def again(platform, run_id: str) -> str:
    """The run executed again, as the webserver and Dagster's own retries do it: with the tags of the first one."""
    parent = platform.instance.get_run_by_id(run_id)
    job = platform.definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=parent.asset_selection
    )
    tags = {**parent.tags, PARENT_RUN_ID_TAG: run_id, ROOT_RUN_ID_TAG: run_id}
    return platform.instance.create_run_for_job(
        job,
        run_config=parent.run_config,
        asset_selection=parent.asset_selection,
        status=dg.DagsterRunStatus.STARTED,
        tags=tags,
        parent_run_id=run_id,
        root_run_id=run_id,
    ).run_id


def test_a_run_that_is_executed_again_is_not_taken_for_the_first_one(platform):
    first = started(platform, [STOCKS], {**dead_process(), REPLAY_TAG: "a replay"}, ["GE"])
    assert recovered(platform) == Recovered([first])
    second = again(platform, first)
    assert not recovered(platform), "its process is not that of the first"
    platform.instance.report_run_failed(platform.instance.get_run_by_id(second))
    assert recovered(platform).unfinished_steps == 1, "no replay settles its work"
    third = again(platform, second)
    platform.instance.report_run_failed(platform.instance.get_run_by_id(third))
    assert recovered(platform).unfinished_steps == 1, "its own work was not written down yet"
    assert [row[4:] for row in letters(platform)] == [(2, "open", third)]


@pytest.mark.parametrize("tag", ["", "{}", "[]", '{"host": 1}', "no json"])
def test_a_run_with_tags_that_make_no_sense_stops_nobody(platform, tag):
    strange = started(platform, [STOCKS], {PROCESS_TAG: tag})
    also = started(platform, [STOCKS], {GRPC_INFO_TAG: tag})
    killed = started(platform, [STOCKS], dead_process(), ["GE"])
    with transaction() as connection:
        for table in ("no_such_table", STOCKS):
            note_write(connection, table, killed, *[datetime(2015, 3, 9, tzinfo=UTC).date()] * 2)
        note_write(connection, "no_such_table", "no_such_run", *[datetime(2015, 3, 9, tzinfo=UTC).date()] * 2)
    found = recovered(platform)
    assert (found.lost_runs, found.unfinished_steps) == ([killed], 1)
    going_on = platform.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    assert {run.run_id for run in going_on} == {strange, also}


def test_a_later_owner_of_the_same_pid_is_not_the_process_that_made_the_run(platform):
    own = json.loads(tags_of_this_process()[PROCESS_TAG])
    killed = started(platform, [STOCKS], {PROCESS_TAG: json.dumps({**own, "started": own["started"] - 60})})
    assert recovered(platform).lost_runs == [killed]


def test_work_that_a_hook_wrote_down_is_not_written_again(platform):
    platform.execute("alter table stock_prices_daily add constraint full_disk check (symbol <> 'GE')")
    outcome = platform.run([STOCKS, INDICATORS], "2015-03-01", symbols=["GE"])
    assert [row[:3] for row in letters(platform)] == [(STOCKS, "2015-03-01", "")]
    platform.execute("update task_failures set status = 'resolved'")
    assert recovered(platform).unfinished_steps == 2
    rows = {row[0]: row for row in letters(platform) if row[5] == "open"}
    assert rows == {INDICATORS: (INDICATORS, "2015-03-01", "", ["GE"], 1, "open", outcome.run_id)}


def test_an_unknown_symbol_has_one_row_alone_and_what_is_computed_from_it_has_none(platform, sandbox):
    sandbox.delist("GE")
    outcome = platform.run(
        [STOCKS, INDICATORS, "levels_daily", "pivot_points", "signals"], "2015-03-01", symbols=["GE"]
    )
    assert not outcome.success
    [row] = letters(platform)
    assert (row[0], *row[2:6]) == (STOCKS, "GE", ["GE"], 1, "open")
    assert recovered(platform).unfinished_steps == 0
    assert letters(platform) == [row]


def test_what_is_computed_of_others_in_such_a_run_is_computed_by_the_next_of_its_job(platform, sandbox):
    """Bitcoin's months lie years back, and neither a dead letter nor the ledger tells of their signals."""
    sandbox.delist("GE")
    tables = [STOCKS, "crypto_prices_daily", INDICATORS, "signals"]
    assert not platform.run(tables, "2014-06-01", "2015-03-01", symbols=["GE", "BTC"]).success
    assert {row[0] for row in letters(platform)} == {STOCKS}
    assert recovered(platform).unfinished_steps == 0
    assert platform.scalar("select count(*) from signals") == 0
    assert platform.run([INDICATORS, "signals"], f"{datetime.now(UTC):%Y-%m}-01").success
    first, last = platform.rows("select min(date), max(date) from signals where symbol = 'BTC'")[0]
    assert (first.isoformat()[:7], last.isoformat()[:7]) == ("2014-06", "2015-03")


def test_a_table_that_does_not_catch_up_by_itself_has_a_row(platform, sandbox, monkeypatch):
    monkeypatch.setattr(failed_runs, "CATCHING_UP", CATCHING_UP - {INDICATORS})
    sandbox.delist("GE")
    assert not platform.run([STOCKS, INDICATORS, "levels_daily"], "2015-03-01", symbols=["GE"]).success
    assert recovered(platform).unfinished_steps == 1
    assert {row[0] for row in letters(platform)} == {STOCKS, INDICATORS}


def test_rows_that_were_committed_without_an_event_are_reported_once(platform):
    platform.run(STOCKS, "2015-03-01", symbols=["GE"])
    killed = started(platform, [STOCKS], dead_process(), ["GE"])
    with transaction() as connection:
        note_write(connection, STOCKS, killed, *(datetime(2015, month, 9, tzinfo=UTC).date() for month in (2, 4)))
    assert recovered(platform).reported == {STOCKS: ["2015-02-01", "2015-03-01", "2015-04-01"]}
    assert recovered(platform).reported == {}
    assert platform.scalar("select count(*) from unreported_writes") == 0
    events = platform.instance.fetch_materializations(dg.AssetKey(STOCKS), limit=10).records
    metadata = [event.asset_materialization.metadata for event in events if event.run_id == ""]
    assert len(metadata) == 3
    assert {(m["run"].value, m["reconciled"].value) for m in metadata} == {(killed, True)}


def test_rows_whose_run_reported_them_itself_are_not_reported_again(platform):
    outcome = platform.run(STOCKS, "2015-03-01", "2015-04-01", symbols=["GE"])
    assert platform.scalar("select count(*) from unreported_writes") == 0
    with transaction() as connection:
        note_write(connection, STOCKS, outcome.run_id, *[datetime(2015, 3, 9, tzinfo=UTC).date()] * 2)
    assert recovered(platform).reported == {}
    assert platform.scalar("select count(*) from unreported_writes") == 0
    assert len(platform.instance.fetch_materializations(dg.AssetKey(STOCKS), limit=10).records) == 2


def test_a_run_that_goes_on_keeps_its_notes(platform):
    running = started(platform, [STOCKS], tags_of_this_process())
    with transaction() as connection:
        note_write(connection, STOCKS, running, *[datetime(2015, 3, 9, tzinfo=UTC).date()] * 2)
    assert not recovered(platform)
    assert platform.scalar("select count(*) from unreported_writes") == 1


def test_rows_of_a_replay_that_was_killed_are_given_back(platform):
    platform.execute(
        "insert into task_failures (task_name, partition_key, symbol, exception, status, replay_run_id) values"
        " ('stock_prices_daily', '2015-03-01', 'GE', 'broke', 'retrying', 'gone')"
    )
    assert recovered(platform) == Recovered(given_back=1)
    [row] = platform.rows("select attempts, status, replay_run_id, next_retry_at - last_failed_at from task_failures")
    assert row[:3] == (2, "open", None)
    assert row[3].total_seconds() == 120
    assert recovered(platform) == Recovered()


def test_the_sensors_recover_and_replay_one_at_a_time(platform):
    started(platform, [STOCKS], dead_process(), ["GE"])
    [lost] = platform.instance.get_run_records()
    context = dg.build_sensor_context(instance=platform.instance)
    assert f"lost_runs=['{lost.dagster_run.run_id}']" in str(recovery_sensor(context).skip_message)
    assert follow(platform)[0] == "Failed runs: 1; steps left undone: 1."
    assert recovery_sensor(context).skip_message == "Nothing was left behind."
    assert isinstance(replay_dead_letters_sensor(context), dg.SkipReason)
    platform.execute("update task_failures set next_retry_at = now()")
    assert isinstance(replay_dead_letters_sensor(context), dg.RunRequest)
    repository = platform.definitions.get_repository_def()
    job = repository.get_job("replay_dead_letters")
    other = platform.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert "a replay is running" in str(replay_dead_letters_sensor(context).skip_message)
    platform.instance.report_run_failed(other)
    assert run_job(repository, "replay_dead_letters", {}, instance=platform.instance).success
    assert {row[5] for row in letters(platform)} == {"resolved"}
    assert platform.scalar(f"select count(*) from {STOCKS}") == 19 + 22 + 21


def follow(platform, cursor: str | None = None) -> tuple[str, str | None]:
    """A tick of the sensor that follows failed runs: what it says, and where the next one goes on."""
    context = dg.build_sensor_context(platform.instance, cursor=cursor)
    return str(dead_letter_failed_runs(context).skip_message), context.cursor


def test_a_sensor_writes_what_hooks_could_not(platform):
    assert follow(platform) == ("Failed runs: 0; steps left undone: 0.", None)
    killed = started(platform, [STOCKS, INDICATORS], {}, ["GE"])
    platform.instance.report_run_failed(platform.instance.get_run_by_id(killed))
    said, cursor = follow(platform)
    assert said == "Failed runs: 1; steps left undone: 2."
    assert sorted(row[0] for row in letters(platform)) == [INDICATORS, STOCKS]
    assert follow(platform, cursor) == ("Failed runs: 0; steps left undone: 0.", cursor)
    assert follow(platform)[0] == "Failed runs: 1; steps left undone: 0.", "as if it looked for the first time"
    assert not recovered(platform)


def test_the_sensor_goes_on_from_where_its_predecessor_ended(platform):
    """It was one of Dagster's sensors of failed runs, whose cursor says more."""
    for _ in range(2):
        run = platform.instance.get_run_by_id(started(platform, [STOCKS], {}, ["GE"]))
        platform.instance.report_run_failed(run)
    events = platform.instance.fetch_run_status_changes(dg.DagsterEventType.RUN_FAILURE, limit=2, ascending=True)
    cursor = RunStatusSensorCursor(record_id=events.records[0].storage_id, record_timestamp=None).to_json()
    assert follow(platform, cursor)[0] == "Failed runs: 1; steps left undone: 1."
    assert [row[-1] for row in letters(platform)] == [run.run_id]
