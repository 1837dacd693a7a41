"""Clean-up: what is old goes, what is needed stays, and being killed halfway changes nothing in the end."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from financehub_dagster.automation.jobs.cleanup_old_data import cleanup_old_data
from financehub_dagster.cli.supervisor.processes import MAX_LOG_BYTES, rotate
from financehub_dagster.operations.retention import clean_up, delete_folders, delete_journals
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.dagster_retention import (
    delete_old_runs,
    delete_repeated_runs,
    delete_repeated_ticks,
)
from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage
from financehub_dagster.storage.database.schema import metadata
from financehub_dagster.storage.operations import health_checks, retention
from financehub_dagster.storage.operations.health_checks import Checked
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.unit.archive import months

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
BREACHES = """(table_name, kind, subject, began_at, ended_at, bound, worst, detail)
    select 'quotes', 'freshness', n, now(), {ended}, 1, 2, 'late'"""


def execute(database: Database, statement: str, **values: object) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text(statement), values)


def rows(database: Database, query: str) -> list[tuple]:
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def parted() -> None:
    """An asset with partitions."""


@dg.asset
def whole() -> None:
    """An asset without any."""


@dg.asset_check(asset=whole)
def is_good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def instance(dagster_tables, tmp_path, monkeypatch):
    """A Dagster instance on the storage of the platform."""
    custom = {"module": FinanceHubDagsterStorage.__module__, "class": FinanceHubDagsterStorage.__name__, "config": {}}
    config = {"storage": {"custom": custom}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_old_runs_go_and_what_is_known_of_partitions_and_checks_stays(instance, dagster_tables):
    old = [dg.materialize([parted], partition_key=key, instance=instance).run_id for key in "aab"]
    old += [dg.materialize([whole, is_good], instance=instance).run_id for _ in range(2)]
    dagster_tables.execute("update runs set update_timestamp = update_timestamp - interval '8 days'")
    new = dg.materialize([whole, is_good], instance=instance).run_id
    seen = instance.fetch_materializations(dg.AssetKey("parted"), limit=9).records
    assert len(seen) == 3

    deleted = delete_old_runs(WEEK, timedelta(days=30))
    assert {run.run_id for run in instance.get_runs()} == {old[1], old[2], new}
    assert (deleted.runs, deleted.checks) == (3, 2)
    assert deleted.events > 30
    assert instance.get_materialized_partitions(dg.AssetKey("parted")) == {"a", "b"}
    kept = instance.fetch_materializations(dg.AssetKey("whole"), limit=9).records
    assert [record.run_id for record in kept] == [new]
    assert not delete_old_runs(WEEK, timedelta(days=30)).runs


def test_failed_runs_are_kept_longer_and_runs_in_progress_whatever_their_age(dagster_tables):
    month = 40 * 86_400
    for run_id, status in (("ok", "SUCCESS"), ("bad", "FAILURE"), ("on", "STARTED"), ("next", "QUEUED")):
        dagster_tables.run(run_id, status, ago=month)
    assert delete_old_runs(WEEK, timedelta(days=60)).runs == 1
    assert delete_old_runs(WEEK, timedelta(days=30)).runs == 1
    assert delete_old_runs(timedelta(), timedelta()).runs == 0


def test_of_jobs_that_run_all_day_the_newest_runs_stay(instance, dagster_tables):
    by = {"dagster/schedule_name": "every_minute"}
    runs = [dg.materialize([parted], partition_key=key, instance=instance, tags=by).run_id for key in "abbbb"]
    mine = dg.materialize([whole], instance=instance).run_id
    assert not delete_repeated_runs(1).runs, "within the hour they stay"
    dagster_tables.execute("update runs set update_timestamp = update_timestamp - interval '2 hours'")

    deleted = delete_repeated_runs(2)
    assert set(deleted.of) == set(runs[:3])
    assert {run.run_id for run in instance.get_runs()} == {runs[0], *runs[3:], mine}
    assert instance.get_materialized_partitions(dg.AssetKey("parted")) == {"a", "b"}
    assert not delete_repeated_runs(2).of, "what stays for its newest materialization is not looked at again"
    assert set(delete_repeated_runs(1, seconds=0).of) == set(), "no time, no batch"
    assert set(delete_repeated_runs(1).of) == {runs[3]}


def test_of_ticks_the_newest_of_each_kind_stay_and_failures(instance, dagster_tables):
    for number in range(12):
        status = ("SKIPPED", "SKIPPED", "SUCCESS", "FAILURE")[number % 4]
        dagster_tables.execute(
            "insert into job_ticks (job_origin_id, selector_id, status, type, timestamp, tick_body)"
            f" values ('o', 's{number % 2}', '{status}', 'SENSOR', now(), '{{}}')"
        )
    assert delete_repeated_ticks(2, 2) == 2 * 1 + 1
    assert dict(dagster_tables.rows("select status, count(*) from job_ticks group by status")) == {
        "SKIPPED": 4,
        "SUCCESS": 2,
        "FAILURE": 3,
    }
    assert delete_repeated_ticks(2, 2) == 0
    assert delete_repeated_ticks(1, 2) == 1, "of those with a run"
    assert delete_repeated_ticks(1, 1) == 2, "of those without"


def quotes(database: Database, symbol: str, first: datetime, minutes: int, count: int) -> None:
    execute(
        database,
        "insert into quotes (symbol, quoted_at, price, currency, source, fetched_at) select :symbol, "
        " cast(:first as timestamptz) + n * make_interval(mins => :minutes), n + 1, 'USD', 'test', now()"
        " from generate_series(0, :count - 1) n",
        symbol=symbol,
        first=first,
        minutes=minutes,
        count=count,
    )


def test_old_quotes_are_thinned_to_the_last_of_each_hour_and_new_ones_stay(database):
    quotes(database, "BTC", NOW - timedelta(days=33, hours=12), 2, 3 * 720)
    quotes(database, "AAPL", NOW - timedelta(days=32), 45, 4)
    quotes(database, "BTC", NOW - timedelta(days=1), 2, 100)
    before = rows(
        database,
        "select max(price) from quotes where symbol = 'BTC' group by date_trunc('hour', quoted_at)"
        " having min(quoted_at) < '2026-11-01' order by 1",
    )
    cut = NOW - timedelta(days=30)
    assert retention.thin_to_hourly("quotes", "quoted_at", cut) == 3 * 720 - 72 + 1
    assert (
        rows(database, "select price from quotes where symbol = 'BTC' and quoted_at < '2026-11-01' order by 1")
        == before
    )
    assert rows(database, "select count(*) from quotes where quoted_at > '2026-11-28'") == [(100,)]
    assert retention.thin_to_hourly("quotes", "quoted_at", cut) == 0


def test_thinning_that_was_killed_halfway_is_completed_by_the_next(database):
    quotes(database, "BTC", NOW - timedelta(days=50), 30, 48 * 15)
    cut = NOW - timedelta(days=30)
    retention.thin_to_hourly("quotes", "quoted_at", NOW - timedelta(days=43))  # as far as it came
    assert retention.thin_to_hourly("quotes", "quoted_at", cut) > 0
    crowded = "select count(*) from quotes group by date_trunc('hour', quoted_at) having count(*) > 1"
    assert rows(database, crowded) == []


def test_the_newest_status_of_a_component_stays_however_old_it_is(database):
    for component, status in (("disk", "failed"), ("disk", "ok"), ("gone", "ok")):
        with database.engine.begin() as connection:
            health_checks.store(connection, [Checked(component, status, "as found")])  # type: ignore[arg-type]
    execute(database, "update health_checks set checked_at = now() - interval '200 days'")
    assert retention.delete_old("health_checks", WEEK) == 1
    assert rows(database, "select component, status from health_checks order by 1") == [("disk", "ok"), ("gone", "ok")]


@pytest.mark.parametrize(
    ("table", "insert"),
    [
        ("alerts", "(incident, opened_at, ended_at, message, recurrence) select 'a' || n, now(), {ended}, 'b', 0"),
        (
            "sla_breaches",
            BREACHES,
        ),
    ],
)
def test_incidents_that_last_stay_however_old_they_are(database, table, insert):
    for ended in ("null", "now() - interval '8 days'", "now() - interval '6 days'"):
        execute(database, f"insert into {table} {insert.format(ended=ended)} from generate_series(1, 2500) n")
    assert retention.delete_old(table, WEEK) == 2500
    assert rows(database, f"select count(*), count(ended_at) from {table}") == [(5000, 2500)]


def test_only_folders_of_old_runs_go(tmp_path):
    old, new = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"
    for name in (old, new, "my-io-manager"):
        file = tmp_path / name / "compute_logs" / "quotes.err"
        file.parent.mkdir(parents=True)
        file.write_text("told")
        if name != new:
            for path in (file, file.parent, file.parent.parent):
                os.utime(path, (1e9, 1e9))
    assert delete_folders(tmp_path, NOW - WEEK) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [new, "my-io-manager"]
    assert delete_folders(tmp_path / "nowhere", NOW) == 0


def test_old_journals_go_and_what_is_no_journal_stays(tmp_path):
    for name, is_old in (("main/2019-W40.md", True), ("main/2026-W48.md", False), ("main/notes.md", True)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("A week")
        if is_old:
            os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "2019-W40.html").write_text("A week")
    os.utime(tmp_path / "closed" / "2019-W40.html", (1e9, 1e9))
    assert delete_journals(tmp_path, NOW - WEEK) == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["2026-W48.md", "main", "notes.md"]
    assert delete_journals(tmp_path / "nowhere", NOW) == 0


def test_the_job_shows_every_table_before_and_after(database, instance, dagster_tables):
    quotes(database, "BTC", datetime.now(UTC) - timedelta(days=40), 2, 60)
    done = cleanup_old_data.execute_in_process(instance=instance)
    [event] = [event for event in done.all_events if event.event_type_value == "STEP_OUTPUT"]
    table = event.step_output_data.metadata["sizes"]
    assert isinstance(table, dg.TableMetadataValue)
    shown = {record.data["what"]: record.data["deleted"] for record in table.records}
    assert set(metadata.tables) <= set(shown)
    assert {"dagster runs", "dagster event_logs", "compute logs", "journal files"} <= set(shown)
    assert shown["quotes"] in (58, 57)  # two hours, or three


def test_revisions_are_kept_for_ever_unless_told_otherwise(database, dagster_tables, monkeypatch):
    execute(
        database,
        "insert into price_revisions (table_name, symbol, date, old, replaced_at)"
        " values ('stock_prices_daily', 'AAPL', '2020-01-01', '{}', now() - interval '3 years')",
    )
    told: list[str] = []
    clean_up(get_settings(), None, told.append)
    assert rows(database, "select count(*) from price_revisions") == [(1,)]
    monkeypatch.setenv("FINANCEHUB_KEEP_REVISIONS_DAYS", "365")
    get_settings.cache_clear()
    clean_up(get_settings(), None, told.append)
    assert rows(database, "select count(*) from price_revisions") == [(0,)]
    assert any(line.startswith("price_revisions: 1 price_revisions deleted") for line in told)
    get_settings.cache_clear()


def test_old_months_of_intraday_bars_are_archived_and_hours_stay(database, dagster_tables, tmp_path, monkeypatch):
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    get_settings.cache_clear()
    july = date(2026, 7, 1)
    for name in ("ohlc_1m", "ohlc_5m", "ohlc_1h"):
        months.fill(name, (july,))
    cleaned = {each.name: each for each in clean_up(get_settings(), None, lambda _: None)}
    assert cleaned["ohlc_1h"].deleted == 0
    for name in ("ohlc_1m", "ohlc_5m"):
        assert cleaned[name].deleted == 150
        assert cleaned[name].before > cleaned[name].after == 0
        assert (tmp_path / "archive" / name / "2026-07.parquet").exists()
    assert cleaned["archive"].before == 0 < cleaned["archive"].after
    get_settings.cache_clear()


WRITER = """
import json, sys, time
for number in range(10_000):
    print(json.dumps({"number": number, "text": "x" * 5000}), flush=True)
    if number % 100 == 0: time.sleep(0.01)
"""


def test_a_log_is_rotated_while_its_process_writes(tmp_path: Path):
    log = tmp_path / "noisy.log"
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-c", WRITER], stdout=output)
    eventually(lambda: log.stat().st_size > MAX_LOG_BYTES, 60)
    rotate(log)
    assert log.stat().st_size < MAX_LOG_BYTES
    assert (tmp_path / "noisy.old.log").stat().st_size > MAX_LOG_BYTES
    assert process.wait(60) == 0
    last = json.loads(log.read_text().splitlines()[-1])
    assert last["number"] == 9_999
    rotate(tmp_path / "missing.log")
