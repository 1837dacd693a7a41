"""Making runs in this process: what `dagster asset materialize` does, with the outcome handed back.

Belongs here: running tables over a partition range, or a job, on the configured instance. Does not belong here:
printing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from financehub_dagster.automation.failures.lost_runs import tags_of_this_process
from financehub_dagster.ingest.partitions import range_tags
from financehub_dagster.storage.queries.partition_keys import ends_of

type Progress = Callable[[dg.DagsterEvent], None]


@dataclass
class RunOutcome:
    """How a run ended: metadata of the last materialization per table, and each check's result.

    steps maps each step that ended to its error, None where it succeeded; interrupted says that the process was told
    to stop.
    """

    run_id: str
    success: bool
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: list[dg.AssetCheckEvaluation] = field(default_factory=list)
    error: str | None = None
    steps: dict[str, str | None] = field(default_factory=dict)
    interrupted: bool = False


def run_tables(
    repository: dg.RepositoryDefinition,
    tables: Sequence[str],
    partition_key: str,
    config: Mapping[str, object],
    *,
    instance: dg.DagsterInstance,
    tags: Mapping[str, str] | None = None,
    on_event: Progress | None = None,
) -> RunOutcome:
    """Run `tables` with their checks over a partition, a range `first...last`, or without partitions where it is empty.

    Each value of `config` goes to every table that takes a config of that name.
    """
    keys = frozenset(dg.AssetKey(table) for table in tables)
    job = repository.get_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    span = range_tags(*ends_of(partition_key)) if partition_key else {}
    run = instance.create_run_for_job(
        job_def=job,
        run_config=_config_of_each(job, config),
        asset_selection=keys,
        tags={**span, **tags_of_this_process(), **(tags or {})},
    )
    return _execute(InMemoryJob(job), run, instance, on_event)


def run_job(
    repository: dg.RepositoryDefinition,
    name: str,
    run_config: Mapping[str, object],
    *,
    instance: dg.DagsterInstance,
    on_event: Progress | None = None,
) -> RunOutcome:
    """Run a job of the repository in this process."""
    job = repository.get_job(name)
    run = instance.create_run_for_job(job_def=job, run_config=dict(run_config), tags=tags_of_this_process())
    return _execute(_LoadedJob(job, repository), run, instance, on_event)


class _LoadedJob(InMemoryJob):
    """A job that knows the repository it comes from, as one of a code server does."""

    def __init__(self, job: dg.JobDefinition, repository: dg.RepositoryDefinition) -> None:
        super().__init__(job)
        self._repository = repository

    def get_repository_definition(self) -> dg.RepositoryDefinition:
        """The repository that the job's steps see."""
        return self._repository


def _execute(
    job: InMemoryJob, run: dg.DagsterRun, instance: dg.DagsterInstance, on_event: Progress | None
) -> RunOutcome:
    outcome = RunOutcome(run.run_id, success=False)
    for event in execute_run_iterator(job, run, instance):
        note(event, outcome)
        if on_event is not None:
            on_event(event)
    return outcome


def _config_of_each(job: dg.JobDefinition, config: Mapping[str, object]) -> Mapping[str, object]:
    ops: dict[str, object] = {}
    for node in job.nodes:
        if isinstance(node.definition, dg.OpDefinition):
            fields = getattr(node.definition.config_schema.config_type, "fields", {})
            own = {name: value for name, value in config.items() if name in fields}
            if own:
                ops[node.name] = {"config": own}
    return {"ops": ops} if ops else {}


def note(event: dg.DagsterEvent, outcome: RunOutcome) -> None:
    """Add to the outcome what an event of the run tells."""
    if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        values = {name: value.value for name, value in materialization.metadata.items()}
        outcome.tables[materialization.asset_key.to_user_string()] = values
    elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        outcome.checks.append(event.asset_check_evaluation_data)
    elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
        outcome.steps[str(event.step_key)] = None
    elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
        reason = _first_cause(event)
        outcome.steps[str(event.step_key)] = reason
        outcome.error = outcome.error or reason
        error = event.step_failure_data.error
        outcome.interrupted |= error is not None and error.cls_name == "DagsterExecutionInterruptedError"
    elif event.event_type == dg.DagsterEventType.RUN_FAILURE:
        outcome.error = outcome.error or event.message  # of a run whose process was lost
    elif event.event_type == dg.DagsterEventType.RUN_SUCCESS:
        outcome.success = True


def _first_cause(event: dg.DagsterEvent) -> str:
    """The message of the innermost error; Dagster wraps what a step raised in errors of its own."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return (event.message or "it failed") if error is None else error.message.strip()
