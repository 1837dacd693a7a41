"""The queue of runs as `financehub up` configures it: classes decide who starts first, and low runs leave a place."""

from collections.abc import Iterator

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.test_utils import create_run_for_test, create_test_daemon_workspace_context
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from financehub_dagster.automation.queues import PRIORITIES, QUEUE_TAG
from financehub_dagster.cli import dagster_yaml
from financehub_dagster.definitions import build_definitions
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.urls import beside

MODULE = "financehub_dagster_tests.assets.queued_location"
STARTED, SUCCESS = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS


@pytest.fixture
def instance(database, database_server, dagster_template, tmp_path, monkeypatch) -> Iterator[dg.DagsterInstance]:
    """The instance of a platform that makes two runs at a time, on PostgreSQL; runs work in this process."""
    database_server.create(dagster_template, beside(database.engine.url).database)
    monkeypatch.setenv("FINANCEHUB_MAX_RUNS", "2")
    get_settings.cache_clear()
    content = yaml.safe_load(dagster_yaml.render(get_settings()))
    launcher = {"module": MODULE, "class": "Launcher"}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({**content, "run_launcher": launcher}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def workspace(instance) -> Iterator[WorkspaceProcessContext]:
    """What the daemon knows of the code."""
    target = LoadableTargetOrigin(module_name=MODULE)
    origin = InProcessCodeLocationOrigin(target, location_name="queued")
    with create_test_daemon_workspace_context(InProcessWorkspaceLoadTarget(origin), instance) as workspace:
        yield workspace


def submit(workspace: WorkspaceProcessContext, job: str, **tags: str) -> str:
    """Queue a run as the daemon does for a tick, with the tags of its job."""
    context = workspace.create_request_context()
    [repository] = context.get_code_location("queued").get_repositories().values()
    found = repository.get_full_job(job)
    run = create_run_for_test(
        workspace.instance,
        job_name=job,
        remote_job_origin=found.get_remote_origin(),
        job_code_origin=found.get_python_origin(),
        tags={**found.run_tags, **tags},
    )
    workspace.instance.submit_run(run.run_id, context)
    return run.run_id


def dequeue(workspace: WorkspaceProcessContext) -> None:
    """One look of the daemon at the queue."""
    list(QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(workspace))


def test_a_run_of_a_higher_class_starts_before_lower_ones_that_were_queued_earlier(instance, workspace):
    submit(workspace, "low")
    submit(workspace, "without_class", **{BACKFILL_ID_TAG: "a-backfill"})
    submit(workspace, "default")
    submit(workspace, "high")
    looks = []
    for _ in range(3):
        dequeue(workspace)
        looks.append({run.job_name for run in instance.get_runs(dg.RunsFilter(statuses=[SUCCESS]))})
    # Two runs at a time, but only one that is low.
    assert looks == [{"high", "default"}, {"high", "default", "low"}, {"high", "default", "low", "without_class"}]


def test_two_runs_start_at_once(instance, workspace):
    submit(workspace, "meeting")
    submit(workspace, "meeting")
    dequeue(workspace)
    assert {run.status for run in instance.get_runs()} == {SUCCESS}


def test_low_runs_leave_a_place_to_others(instance, workspace):
    create_run_for_test(instance, job_name="heal_gaps", tags={QUEUE_TAG: "low"}, status=STARTED)
    waiting = submit(workspace, "low")
    dequeue(workspace)
    assert instance.get_run_by_id(waiting).status == dg.DagsterRunStatus.QUEUED
    other = submit(workspace, "default")
    dequeue(workspace)
    assert instance.get_run_by_id(other).status == dg.DagsterRunStatus.SUCCESS
    assert instance.get_run_by_id(waiting).status == dg.DagsterRunStatus.QUEUED


def test_a_run_without_a_class_gets_one_and_keeps_the_priority_it_was_given(instance, workspace):
    def tags(**given: str) -> tuple[str, str]:
        run = instance.get_run_by_id(submit(workspace, "without_class", **given))
        assert run is not None
        return run.tags[QUEUE_TAG], run.tags["dagster/priority"]

    assert tags() == ("default", "0")
    assert tags(**{BACKFILL_ID_TAG: "a-backfill"}) == ("low", "-1")
    assert tags(**{BACKFILL_ID_TAG: "a-backfill", "dagster/priority": "5"}) == ("low", "5")


CLASSES = {
    "high": "realtime_pull fetch_stock_prices fetch_crypto_quotes cache_warming daily_close send_notifications "
    "health_check test_connection update_single_asset",
    "low": "heal_gaps heal_minutes historical_seed replay_dead_letters report_coverage audit_tables reconcile_prices "
    "cleanup_old_data cleanup_failed_tasks",
}


def test_every_job_has_a_class_and_whatever_may_take_hours_is_low():
    repository = build_definitions().get_repository_def()
    found = {job.name: job.run_tags for job in repository.get_all_jobs() if job.name != "__ASSET_JOB"}
    expected = {name: queue for queue, names in CLASSES.items() for name in names.split()}
    assert {name: tags.get(QUEUE_TAG) for name, tags in found.items()} == {
        name: expected.get(name, "default") for name in found
    }
    assert set(expected) <= set(found)
    assert {tags[QUEUE_TAG]: int(tags["dagster/priority"]) for tags in found.values()} == dict(PRIORITIES)
    in_pool = {name for name in found if any(node.definition.pools for node in repository.get_job(name).nodes)}
    assert in_pool == {"audit_tables", "cleanup_old_data", "cleanup_failed_tasks"}
