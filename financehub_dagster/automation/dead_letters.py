"""From a failed run to rows of task_failures that suffice to do the work again.

Belongs here: which pieces of work a step stands for, and writing those down that a run left undone. Does not belong
here: when this is called (hooks, sensors, recovery) and trying again (replay).

A row's kwargs are `job` (which job ran), `symbols` (which instruments, null: all) and `config` (the rest of the step's
run config). A step over one symbol stands for the work of its tables, so that any run of them settles the row.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.assets.partitions import range_of
from financehub_dagster.automation.one_symbol import STEPS_OVER_ONE_SYMBOL, bars_table, window_of_step
from financehub_dagster.automation.run_facts import op_config, own_tag
from financehub_dagster.storage.partition_keys import key_of

if TYPE_CHECKING:
    from dagster._core.snap.execution_plan_snapshot import ExecutionStepSnap

    from financehub_dagster.automation.replay_groups import Group
    from financehub_dagster.storage.engine import Connection

REPLAY_TAG = "financehub/replay_of"
"""On a run that tries dead letters again: the run of `replay_dead_letters` that holds the rows, and settles them."""
WRITTEN_TAG = "financehub/dead_letters_written"
"""On a run that failed: how many of its steps were undone, and its id, since a run that repeats it carries its tags."""


@dataclass(frozen=True)
class Piece:
    """Work that can be done again from this alone."""

    task_name: str
    partition_key: str
    symbol: str
    kwargs: dict[str, object]

    @property
    def symbols(self) -> list[str] | None:
        """The instruments it was limited to; None: all."""
        symbols = self.kwargs["symbols"]
        return symbols if isinstance(symbols, list) else None


def partition_of(tags: Mapping[str, str]) -> str:
    """The partition or partition range of a run as dead letters name it; empty for a run without partitions."""
    covered = range_of(tags)
    return "" if covered is None else key_of(*covered)


def pieces_of(run: dg.DagsterRun, op_name: str, began: datetime) -> list[Piece]:
    """The pieces of work that the step `op_name` of a run, begun at `began`, stands for."""
    config = dict(op_config(run, op_name))
    symbol = config.get("symbol")
    window = window_of_step(op_name, config, began.astimezone(UTC).date())
    if window is None:
        symbols = config.pop("symbols", None)
        kwargs = {"job": run.job_name, "symbols": symbols, "config": config}
        return [Piece(op_name, partition_of(run.tags), "", kwargs)]
    bars = bars_table(str(symbol))
    kwargs = {"job": run.job_name, "symbols": [symbol], "config": {}}
    tables = [] if bars is None else [bars, "indicators_daily"]
    return [Piece(table, window.partition_key, str(symbol), dict(kwargs)) for table in tables]


def write_unfinished(instance: dg.DagsterInstance, record: dg.RunRecord) -> int:
    """Write a dead letter for each step that a failed run left undone; returns how many such steps it had.

    Doing it again changes nothing, and neither does work that the run's hook has written down, or that failed or was
    settled since. A replay's run writes none: its rows stand for the work already.
    """
    run = record.dagster_run
    if run.tags.get(WRITTEN_TAG, "").endswith(run.run_id):
        return 0
    undone = [] if own_tag(run, REPLAY_TAG) else list(_undone(instance, run))
    began = record.create_timestamp
    for op_name in undone:
        record_pieces(run, op_name, began, _reason(instance, run), since=began)
    instance.add_run_tags(run.run_id, {WRITTEN_TAG: f"{len(undone)} of {run.run_id}"})
    return len(undone)


def record_pieces(
    run: dg.DagsterRun,
    op_name: str,
    began: datetime,
    exception: str,
    traceback: str | None = None,
    since: datetime | None = None,
) -> None:
    """Write down the work of one step, in one transaction, free of secrets; work on no table is no work."""
    from financehub_dagster.gateway.redaction import redact
    from financehub_dagster.storage.errors import UnknownInstruments
    from financehub_dagster.storage.failures import Failure, record_failures
    from financehub_dagster.storage.transactions import in_transaction

    try:
        pieces = pieces_of(run, op_name, began)
    except UnknownInstruments:
        return  # nothing is expected of a symbol that no instrument has
    failures = [
        Failure(
            piece.task_name,
            redact(exception),
            piece.partition_key,
            piece.symbol,
            kwargs=piece.kwargs,
            traceback=None if traceback is None else redact(traceback),
            run_id=run.run_id,
        )
        for piece in pieces
    ]

    def write(connection: "Connection") -> None:
        record_failures(connection, failures, since)
        for piece in pieces:
            settle_ledger(connection, piece.task_name, piece.partition_key, piece.symbols)

    in_transaction(write)


def settle_ledger(connection: "Connection", task_name: str, partition_key: str, symbols: Sequence[str] | None) -> None:
    """Bring the ledger in line with dead letters that changed; the last act of their transaction.

    Only partitions that are dates have rows in the ledger.
    """
    from financehub_dagster.storage import ledger
    from financehub_dagster.storage.ledger_facts import months_of

    months = months_of(partition_key)
    if months is not None:
        ledger.settle(connection, task_name, symbols, *months, datetime.now(UTC))


def settle_groups(connection: "Connection", groups: "Iterable[Group]") -> None:
    """Bring the ledger in line with groups of dead letters that changed."""
    for group in groups:
        settle_ledger(connection, group.task_name, group.partition_key, group.sorted_symbols)


def _undone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[str]:
    """The steps of a run that fill tables and did not succeed."""
    if run.execution_plan_snapshot_id is None:
        return
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    done = {
        step.step_key
        for step in instance.get_run_step_stats(run.run_id)
        if step.status is not None and step.status.value == "SUCCESS"
    }
    for step in plan.steps:
        if step.key in plan.step_keys_to_execute and step.key not in done and _fills_tables(step):
            yield step.key


def _fills_tables(step: "ExecutionStepSnap") -> bool:
    makes_tables = any(output.properties is not None and output.properties.asset_key for output in step.outputs)
    return makes_tables or step.key in STEPS_OVER_ONE_SYMBOL


def _reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    said = next((entry.dagster_event.message for entry in failures if entry.dagster_event), None)
    return f"RunFailed: {said or 'the run ended before this step did'}"
