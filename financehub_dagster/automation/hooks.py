"""What happens when a step ends: failed work goes to the dead letters, work that succeeded leaves them.

Belongs here: the two hooks that every step filling tables carries, whatever launched its run. Does not belong here:
retrying, and runs whose process was killed, which no hook sees (failures.recovery).
"""

import traceback
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from financehub_dagster.automation.failures.dead_letters import Piece
    from financehub_dagster.storage.database.engine import Connection


@dg.failure_hook(name="dead_letter")
def dead_letter(context: dg.HookContext) -> None:
    """Write the failed step to task_failures, once per run, step and partition; repeats raise its attempts.

    A step of a run that a person cancels has not failed. A replay settles its rows itself. Where no instrument could be
    stored, each has its own row already.
    """
    from financehub_dagster.automation.failures.dead_letters import record_pieces
    from financehub_dagster.automation.run_facts import own_tag
    from financehub_dagster.ingest.outcome import REPLAY_TAG, NothingStored

    error = context.op_exception
    record = context.instance.get_run_record_by_id(context.run_id)
    if record is None or error is None or isinstance(error, NothingStored):
        return
    run = record.dagster_run
    if run.status is dg.DagsterRunStatus.CANCELING or own_tag(run, REPLAY_TAG):
        return
    record_pieces(
        run,
        context.op.name,
        record.create_timestamp,
        f"{type(error).__name__}: {error}",
        "".join(traceback.format_exception(error)),
    )


@dg.success_hook(name="settled")
def settled(context: dg.HookContext) -> None:
    """Close the dead letters of what this step has done, and the note that its writes are not reported."""
    from financehub_dagster.automation.failures.dead_letters import pieces_of
    from financehub_dagster.storage.database.transactions import in_transaction

    record = context.instance.get_run_record_by_id(context.run_id)
    if record is None:
        return
    tables = [output.name for output in context.op.definition.output_defs]
    pieces = pieces_of(record.dagster_run, context.op.name, record.create_timestamp)
    tables += [piece.task_name for piece in pieces if piece.symbol]
    in_transaction(lambda connection: settle(connection, context.run_id, tables, pieces))


def settle(connection: "Connection", run_id: str, tables: list[str], pieces: "Sequence[Piece]") -> None:
    """What a step did is neither failed nor unreported any more; instruments that failed within it keep their rows."""
    from financehub_dagster.automation.failures.dead_letters import settle_ledger
    from financehub_dagster.storage.dead_letters.dead_letters import resolve_failures, resolve_step
    from financehub_dagster.storage.lineage.pending_materializations import clear_notes

    clear_notes(connection, run_id, tables)
    changed = []
    for piece in pieces:
        where = {"task_name": piece.task_name, "partition_key": piece.partition_key}
        if piece.symbol:
            closed = resolve_failures(connection, **where, symbols=[piece.symbol])
        else:
            closed = resolve_step(connection, **where, symbols=piece.symbols)
        changed += [piece] * bool(closed)
    # Where no dead letter was closed, the ledger is as the step's own transactions left it.
    settle_ledger(connection, ((piece.task_name, piece.partition_key, piece.symbols) for piece in changed))
