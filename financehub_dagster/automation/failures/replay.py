"""`replay_dead_letters`: doing failed work again, through the very assets that failed.

Belongs here: taking rows of task_failures, making one run of their table out of those that belong together, and
settling what that run did not. Does not belong here: launching this by itself (sensors).

Rows are claimed one group at a time, just before their run: a replay that is killed loses nobody else's turn.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from financehub_dagster.automation.failures.dead_letters import settle_groups
from financehub_dagster.automation.failures.replay_groups import Group, Row, grouped, symbols_of
from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.automation.runs import run_tables
from financehub_dagster.ingest.outcome import REPLAY_TAG
from financehub_dagster.ingest.partitions import is_of_now, partition_at
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Connection

JOB = "replay_dead_letters"
STEP = "replay"


class Replay(dg.Config):
    """Which dead letters to try again."""

    ids: list[int] | None = Field(
        default=None, description="Rows of task_failures, parked ones included; all whose retry is due when empty."
    )


def replay(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, run_id: str, ids: list[int] | None
) -> int:
    """Try `ids` again, or all rows whose retry is due, on behalf of the run `run_id`; returns how many were taken.

    Work that succeeds has its rows resolved by its own transaction; the others are open again with their next wait, or
    parked. Rows of instruments that left the universe are discarded, rows of tables that are gone parked.
    """
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters import replays

    tables = _tables_by_task(repository)
    with transaction() as connection:
        waiting = ids if ids is not None else replays.ids_to_replay(connection, due_only=True)
    taken = 0
    try:
        for waiting_group in _groups(waiting):
            rows = in_transaction(partial(_take, run_id, waiting_group.ids, tables, due_only=ids is None))
            taken += len(rows)
            if rows:
                [group] = grouped(rows)
                _run(repository, instance, run_id, group, tables[group.task_name])
    except BaseException:
        in_transaction(lambda connection: replays.give_back(connection, run_id))
        raise
    return taken


def _groups(ids: Sequence[int]) -> list[Group]:
    """The rows of `ids` that belong together, in the order of the first of each."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.dead_letters.dead_letters import read_failures

    with transaction() as connection:
        rows = read_failures(connection, ids)
    return grouped(rows[number] for number in ids if number in rows)


def _tables_by_task(repository: dg.RepositoryDefinition) -> dict[str, list[str]]:
    """The tables that each asset's step fills, by the name of the step."""
    tables: dict[str, list[str]] = {}
    for assets in repository.assets_defs_by_key.values():
        if assets.is_executable and assets.keys:
            tables[assets.op.name] = sorted(key.to_user_string() for key in assets.keys)
    return tables


def _take(
    run_id: str, ids: Sequence[int], tables: Mapping[str, list[str]], connection: "Connection", *, due_only: bool
) -> list[dict[str, Any]]:
    """Claim those of `ids` that wait: the rows that can be done; the others are parked or discarded with the reason."""
    from financehub_dagster.storage.dead_letters import replays
    from financehub_dagster.storage.queries.instruments import list_instruments

    rows = replays.claim(connection, run_id, ids, due_only=due_only)
    for task_name in {row["task_name"] for row in rows if row["task_name"] not in tables}:
        unknown = [row["id"] for row in rows if row["task_name"] == task_name]
        replays.park_claimed(connection, run_id, unknown, f"no table or task {task_name} any more: discard it")
    active = {instrument.symbol for instrument in list_instruments(connection)}
    left, gone = [], []
    for row in rows:
        symbols = symbols_of(row)
        staying = None if symbols is None else [symbol for symbol in symbols if symbol in active]
        if row["task_name"] in tables and symbols and not staying:
            gone.append(row)
        elif row["task_name"] in tables:
            left.append({**row, "kwargs": {**row["kwargs"], "symbols": staying}})
    _discard(connection, gone)
    return left


def _discard(connection: "Connection", rows: Sequence[Row]) -> None:
    """Close rows of instruments that left the universe, and have the ledger say so."""
    from financehub_dagster.storage.dead_letters.dead_letters import discard_failures

    by_symbols: dict[str, list[int]] = {}
    for row in rows:
        by_symbols.setdefault(", ".join(symbols_of(row) or ()), []).append(row["id"])
    for symbols, ids in by_symbols.items():
        discard_failures(connection, ids, f"{symbols} not in the universe any more")
    settle_groups(connection, grouped(rows))


def _run(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, run_id: str, group: Group, tables: Sequence[str]
) -> None:
    from dagster._core.errors import DagsterExecutionInterruptedError

    now = datetime.now(UTC)
    partition = partition_at(group.task_name, now) if is_of_now(group.task_name) else group.partition_key
    error: str | None
    try:
        outcome = run_tables(
            repository, tables, partition, group.run_config, instance=instance, tags={REPLAY_TAG: run_id}
        )
    except Exception as failure:  # noqa: BLE001 - what keeps the run from starting is why its rows go on waiting
        error = f"{type(failure).__name__}: {failure}"
    else:
        if outcome.interrupted:
            raise DagsterExecutionInterruptedError
        error = outcome.steps.get(group.task_name, f"run {outcome.run_id} ended before {group.task_name} did")
    _settle(run_id, group, error)


def _settle(run_id: str, group: Group, error: str | None) -> None:
    """Close or give back those rows of the group that their run, whose step succeeded or had this error, has not."""
    from financehub_dagster.gateway.redaction import redact
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters import replays

    def settle(connection: "Connection") -> None:
        if error is None:
            replays.resolve_claimed(connection, run_id, group.ids)
        else:
            replays.fail_claimed(connection, run_id, group.ids, redact(error))
        settle_groups(connection, [group])

    in_transaction(settle)


@dg.op(name=STEP)
def replay_rows(context: dg.OpExecutionContext, config: Replay) -> None:
    """Try the rows again; one that fails again waits on, and fails nothing here."""
    taken = replay(context.repository_def, context.instance, context.run_id, config.ids)
    context.log.info(f"{counted(taken, 'dead letter')} tried again")


@dg.job(
    name=JOB,
    description="Do failed work again: the dead letters whose retry is due, or those with the given ids.",
    tags=queue_tags("low"),
)
def replay_dead_letters() -> None:
    """Each group of rows becomes a run of its table, tagged with this one."""
    replay_rows()
