"""Launching runs from Python: what `dagster asset materialize` does, with the outcome handed back.

Belongs here: running a selection of tables over a partition range on the configured instance. Does not belong here:
printing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

type Progress = Callable[[dg.DagsterEvent], None]


@dataclass
class RunOutcome:
    """How a run ended: metadata of the last materialization per table, and each check's result."""

    run_id: str
    success: bool
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: list[dg.AssetCheckEvaluation] = field(default_factory=list)
    error: str | None = None


def materialize(
    definitions: dg.Definitions,
    tables: Sequence[str],
    first: str,
    last: str,
    symbols: Sequence[str] | None = None,
    on_event: Progress | None = None,
    instance: dg.DagsterInstance | None = None,
) -> RunOutcome:
    """Run `tables` with their checks over the partitions `first` to `last` as one run in this process.

    `symbols` limits the instruments of every table that takes such a config. Never raises for a failed step: the
    outcome says so.
    """
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = {dg.AssetKey(table) for table in tables}
    subset = job.get_subset(asset_selection=keys)
    config = {} if symbols is None else _symbols_config(subset, symbols)
    instance = instance or dg.DagsterInstance.get()
    run = instance.create_run_for_job(
        job_def=subset,
        run_config=config,
        asset_selection=frozenset(keys),
        tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last},
    )
    outcome = RunOutcome(run.run_id, success=False)
    for event in execute_run_iterator(InMemoryJob(subset), run, instance):
        _note(event, outcome)
        if on_event is not None:
            on_event(event)
    return outcome


def _symbols_config(job: dg.JobDefinition, symbols: Sequence[str]) -> Mapping[str, object]:
    takes_symbols = [
        node.name
        for node in job.nodes
        if isinstance(node.definition, dg.OpDefinition)
        and "symbols" in getattr(node.definition.config_schema.config_type, "fields", {})
    ]
    return {"ops": {name: {"config": {"symbols": list(symbols)}} for name in takes_symbols}}


def _note(event: dg.DagsterEvent, outcome: RunOutcome) -> None:
    if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        values = {name: value.value for name, value in materialization.metadata.items()}
        outcome.tables[materialization.asset_key.to_user_string()] = values
    elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        outcome.checks.append(event.asset_check_evaluation_data)
    elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
        outcome.error = outcome.error or _first_cause(event)
    elif event.event_type == dg.DagsterEventType.RUN_SUCCESS:
        outcome.success = True


def _first_cause(event: dg.DagsterEvent) -> str | None:
    """The message of the innermost error; Dagster wraps what a step raised in errors of its own."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return event.message if error is None else error.message.strip()
