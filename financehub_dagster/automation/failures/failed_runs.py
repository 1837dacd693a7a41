"""Failed runs whose work nobody has written down: their processes were killed, or ended before a step began.

Belongs here: finding the steps that such runs left undone, many runs at a time. Does not belong here: which work a step
stands for (dead_letters), and when to look (sensors, recovery).
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import dagster as dg
from dagster._core.definitions.run_status_sensor_definition import RunStatusSensorCursor

from financehub_dagster.automation.failures.dead_letters import Piece, failures_of, pieces_of, write
from financehub_dagster.automation.jobs.single_asset import STEPS_OVER_ONE_SYMBOL
from financehub_dagster.automation.run_facts import contained, own_tag
from financehub_dagster.ingest.outcome import REPLAY_TAG, NothingStored
from financehub_dagster.tables import CATCHING_UP

if TYPE_CHECKING:
    from dagster._core.snap.execution_plan_snapshot import ExecutionPlanSnapshot, ExecutionStepSnap

    from financehub_dagster.storage.dead_letters.dead_letters import Failure

WRITTEN_TAG = "financehub/dead_letters_written"
"""On a run that failed: how many of its steps were undone, and its id, since a run that repeats it carries its tags."""
LOOKBACK = timedelta(days=2)
"""Runs that failed longer ago have had their dead letters written, or nobody has looked since."""
_FAILURE: Final = dg.DagsterEventType.RUN_FAILURE
BATCH = 50
"""Runs written down in one transaction."""
TICK_SECONDS = 20.0
"""A tick goes on for so long, a third of what Dagster gives it; the next one goes on from there."""


@dataclass(frozen=True)
class CaughtUp:
    """How far the events of failed runs were read, of how many runs, and how many steps these left undone."""

    cursor: str | None
    runs: int = 0
    steps: int = 0


def catch_up(instance: dg.DagsterInstance, cursor: str | None, now: datetime) -> CaughtUp:
    """Write down what runs left undone that failed after `cursor`; None: within LOOKBACK of `now`, an aware instant."""
    until = time.monotonic() + TICK_SECONDS
    found = CaughtUp(cursor)
    while time.monotonic() < until:
        events = instance.fetch_run_status_changes(
            _failed_after(found.cursor, now), limit=BATCH, ascending=True
        ).records
        if events:
            ids = [event.event_log_entry.run_id for event in events]
            steps = write_unfinished(instance, instance.get_run_records(dg.RunsFilter(run_ids=ids)))
            found = CaughtUp(str(events[-1].storage_id), found.runs + len(events), found.steps + steps)
        if len(events) < BATCH:
            break
    return found


def write_unfinished(instance: dg.DagsterInstance, records: Iterable[dg.RunRecord]) -> int:
    """Write a dead letter for each step that failed runs left undone; returns how many such steps they had.

    Doing it again changes nothing, and neither does work that the run's hook has written down, or that failed or was
    settled since. A replay's run writes none: its rows stand for the work already.
    """
    pieces: list[Piece] = []
    failures: list[Failure] = []
    steps: dict[str, int] = {}
    plans: dict[str, ExecutionPlanSnapshot] = {}
    for record in records:
        run = record.dagster_run
        if run.tags.get(WRITTEN_TAG, "").endswith(run.run_id):
            continue
        with contained(f"what run {run.run_id} left undone cannot be written down"):
            undone = [] if own_tag(run, REPLAY_TAG) else list(_undone(instance, run, plans))
            reason = _reason(instance, run) if undone else ""
            own = [piece for step in undone for piece in pieces_of(run, step, record.create_timestamp)]
            failures += failures_of(run, own, reason, since=record.create_timestamp)
            pieces += own
            steps[run.run_id] = len(undone)
    if pieces:
        write(failures, pieces)
    for run_id, count in steps.items():
        instance.add_run_tags(run_id, {WRITTEN_TAG: f"{count} of {run_id}"})
    return sum(steps.values())


def _failed_after(cursor: str | None, now: datetime) -> dg.RunStatusChangeRecordsFilter:
    if cursor is None:
        return dg.RunStatusChangeRecordsFilter(_FAILURE, after_timestamp=(now - LOOKBACK).timestamp())
    # Dagster's own sensors of failed runs keep more in theirs, and this one was such a sensor.
    after = RunStatusSensorCursor.from_json(cursor).record_id if RunStatusSensorCursor.is_valid(cursor) else int(cursor)
    return dg.RunStatusChangeRecordsFilter(_FAILURE, after_storage_id=after)


def _undone(
    instance: dg.DagsterInstance, run: dg.DagsterRun, plans: "dict[str, ExecutionPlanSnapshot]"
) -> Iterator[str]:
    """The steps of a run that fill tables, did not succeed and need a row; `plans` are those read already.

    A step that could store no instrument needs none, since each instrument has one. Neither do tables computed from
    what it would have stored: healing and automation compute them once that is there.
    """
    number = run.execution_plan_snapshot_id
    if number is None:
        return
    if number not in plans:
        plans[number] = instance.get_execution_plan_snapshot(number)
    plan = plans[number]
    status = {step.step_key: step.status.value for step in instance.get_run_step_stats(run.run_id) if step.status}
    nothing_stored = _stored_nothing(instance, run) if "FAILURE" in status.values() else set()
    without_input = _without_input(plan, nothing_stored, set(status))
    for step in plan.steps:
        key = step.key
        undone = key in plan.step_keys_to_execute and status.get(key) != "SUCCESS" and _fills_tables(step)
        if undone and key not in nothing_stored | without_input:
            yield key


def _stored_nothing(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """The steps of a run that failed because no instrument could be stored."""
    found = set()
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        error = event.step_failure_data.error if event else None
        if event and event.step_key and error and error.cls_name == NothingStored.__name__:
            found.add(event.step_key)
    return found


def _without_input(plan: "ExecutionPlanSnapshot", nothing_stored: set[str], begun: set[str]) -> set[str]:
    """The steps that compute tables from those of `nothing_stored`, or from one another, never began, and catch up."""
    inputs = {step.key: {key for each in step.inputs for key in each.upstream_step_keys} for step in plan.steps}
    waiting = {key for key in inputs if key in CATCHING_UP and key not in begun}
    found: set[str] = set()
    while more := {key for key in waiting - found if inputs[key] & (nothing_stored | found)}:
        found |= more
    return found


def _fills_tables(step: "ExecutionStepSnap") -> bool:
    makes_tables = any(output.properties is not None and output.properties.asset_key for output in step.outputs)
    return makes_tables or step.key in STEPS_OVER_ONE_SYMBOL


def _reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    said = next((entry.dagster_event.message for entry in failures if entry.dagster_event), None)
    return f"RunFailed: {said or 'the run ended before this step did'}"
