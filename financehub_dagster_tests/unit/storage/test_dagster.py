"""Dagster's own storage lives beside the market data and needs nothing but the environment."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from sqlalchemy import event

from financehub_dagster.storage.database import embedded
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage
from financehub_dagster.storage.database.errors import DatabaseUnreachable
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer, clear_caches
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PROJECT = """
import dagster as dg

@dg.asset
def answer():
    return 42

defs = dg.Definitions(assets=[answer], executor=dg.in_process_executor)
"""


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME whose dagster.yaml names our storage, beside a project of one asset."""
    custom = {"module": FinanceHubDagsterStorage.__module__, "class": FinanceHubDagsterStorage.__name__, "config": {}}
    config = {"storage": {"custom": custom}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "project.py").write_text(PROJECT)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dagster(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(REPOSITORY)
    command = [sys.executable, "-m", "dagster", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(home)])}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)


def test_the_instance_stores_runs_beside_the_market_data_and_its_reference_leads_back(
    database: Database, dagster_home: Path
) -> None:
    with dg.DagsterInstance.get() as instance:
        again = dg.DagsterInstance.from_ref(instance.get_ref())
        run = dg.materialize([asset_of(PROJECT)], instance=instance)
        assert run.success
        found = again.get_run_by_id(run.run_id)
        again.dispose()
    assert found is not None
    assert found.status is dg.DagsterRunStatus.SUCCESS
    assert not sa.inspect(database.engine).has_table("runs")
    name = f"{database.engine.url.database}_dagster"
    with autocommit(database.engine.url.set(database=name)) as connection:
        assert connection.execute(sa.text("select count(*) from runs")).scalar() == 1


def asset_of(source: str) -> dg.AssetsDefinition:
    scope: dict[str, object] = {"__name__": "project"}
    exec(source, scope)
    found = scope["answer"]
    assert isinstance(found, dg.AssetsDefinition)
    return found


def planned(instance: dg.DagsterInstance, asset: str) -> tuple[list[tuple[str, str | None]], str | None, set[str]]:
    """What a run of `asset` over three months is known to have planned and made."""
    months = dg.MonthlyPartitionsDefinition(start_date="2024-01-01", end_date="2024-04-01")

    @dg.asset(name=asset, partitions_def=months)
    def filled() -> None: ...

    tags = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-03-01"}
    run = dg.materialize([filled], instance=instance, tags=tags)
    kinds = (dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION)
    events = [entry.get_dagster_event() for entry in instance.all_logs(run.run_id, of_type=set(kinds))]
    [record] = instance.get_asset_records([dg.AssetKey(asset)])
    assert record.asset_entry.last_run_id == run.run_id
    by_partition = instance.get_materialized_partitions(dg.AssetKey(asset))
    newest = record.asset_entry.last_materialization
    return (
        sorted((event.event_type_value, event.partition) for event in events),
        None if newest is None else newest.dagster_event and newest.dagster_event.partition,
        by_partition,
    )


def test_partitions_planned_in_one_statement_are_what_dagster_plans_one_by_one(
    database: Database, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.get() as instance:
        one_by_one = planned(instance, "one_by_one")
        monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
        assert planned(instance, "together") == one_by_one
    assert len(one_by_one[0]) == 6


def test_a_run_plans_a_check_once_over_however_many_partitions(database: Database, dagster_home: Path) -> None:
    months = dg.MonthlyPartitionsDefinition(start_date="2023-01-01", end_date="2025-01-01")

    @dg.asset(partitions_def=months)
    def filled() -> None: ...

    @dg.asset_check(asset=filled)
    def sound() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    definitions = dg.Definitions(assets=[filled], asset_checks=[sound], executor=dg.in_process_executor)
    job = definitions.get_repository_def().get_implicit_global_asset_job_def()
    rows = {}
    with dg.DagsterInstance.get() as instance:
        for count, last in ((2, "2023-02-01"), (24, "2024-12-01")):
            tags = {"dagster/asset_partition_range_start": "2023-01-01", "dagster/asset_partition_range_end": last}
            run = instance.create_run_for_job(job, tags=tags, asset_selection=frozenset({filled.key}))
            assert run.partitions_subset is not None, "as a run that is launched by a sensor or the webserver"
            list(execute_run_iterator(InMemoryJob(job), run, instance))
            assert len(instance.get_materialized_partitions(filled.key)) == count
            name = f"{database.engine.url.database}_dagster"
            with autocommit(database.engine.url.set(database=name)) as connection:
                query = sa.text("select execution_status, partition from asset_check_executions where run_id = :run")
                rows[count] = [tuple(row) for row in connection.execute(query, {"run": run.run_id})]
    assert rows == {2: [("SUCCEEDED", None)], 24: [("SUCCEEDED", None)]}


def test_a_run_of_many_checks_reads_the_servers_catalog_once(database: Database, dagster_home: Path) -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec(f"sound_{n}", asset="filled") for n in range(10)])
    def filled() -> Iterator[dg.MaterializeResult]:
        results = [dg.AssetCheckResult(passed=True, check_name=f"sound_{n}") for n in range(10)]
        yield dg.MaterializeResult(check_results=results)

    catalog: list[str] = []

    def note(*arguments: Any) -> None:
        catalog.extend([arguments[2]] if "pg_catalog.pg_class" in arguments[2] else [])

    with dg.DagsterInstance.get() as instance:
        event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            assert dg.materialize([filled], instance=instance).success
        finally:
            event.remove(sa.Engine, "before_cursor_execute", note)
    assert 1 <= len(catalog) <= 8, catalog  # one for each fact that Dagster asks for, none for each check


def test_a_connection_that_was_kept_and_is_lost_costs_nothing(database: Database, dagster_home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 0
        name = f"{database.engine.url.database}_dagster"
        with autocommit(database.engine.url) as connection:
            end = sa.text("select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where datname = :name")
            assert connection.execute(end, {"name": name}).scalar_one() == 1
        assert instance.get_runs_count() == 0


def test_another_address_in_dagster_yaml_wins(
    database: Database, dagster_home: Path, database_server: DatabaseServer
) -> None:
    url = database_server.url("elsewhere")
    storage = FinanceHubDagsterStorage.from_config_value(
        None, {"postgres_url": url.set(drivername="postgresql").render_as_string(hide_password=False)}
    )
    assert "/elsewhere?" in storage.postgres_url
    assert storage.run_storage.get_runs_count() == 0
    database_server.drop(url)


def test_a_database_that_is_down_is_one_line_at_once(dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", "postgresql://user:hunter2@127.0.0.1:1/market")
    clear_caches()
    with pytest.raises(DatabaseUnreachable, match="127.0.0.1:1.*start the server") as caught:
        dg.DagsterInstance.get()
    assert "hunter2" not in str(caught.value)
    clear_caches()


@pytest.fixture
def embedded_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment that leads to an embedded server which was never started."""
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        monkeypatch.delenv("FINANCEHUB_DATABASE_URL", raising=False)
        monkeypatch.setenv("FINANCEHUB_HOME", folder)
        clear_caches()
        yield Path(folder)
        embedded.stop(Path(folder))
        clear_caches()


def test_plain_dagster_starts_the_embedded_server_by_itself_and_leaves_none_running(
    embedded_home: Path, dagster_home: Path
) -> None:
    done = dagster(dagster_home, "asset", "materialize", "--select", "answer", "-m", "project")
    assert done.returncode == 0, done.stderr
    assert not embedded.status(embedded_home).running
    with dg.DagsterInstance.get() as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS]
        assert instance.get_latest_materialization_event(dg.AssetKey("answer")) is not None
    embedded.release(embedded_home)
