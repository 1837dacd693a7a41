"""`replay_dead_letters`: doing failed work again, through the very assets that failed.

Belongs here: taking rows of task_failures, making one run of their table out of those that belong together, and
settling what that run did not. Does not belong here: launching this by itself (sensors).

Rows are claimed one group at a time, just before their run: a replay that is killed loses nobody else's turn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from financehub_dagster.assets.partitions import OF_NOW, partition_at
from financehub_dagster.automation.dead_letters import REPLAY_TAG, settle_ledger
from financehub_dagster.automation.runs import run_tables

if TYPE_CHECKING:
    from financehub_dagster.storage.engine import Connection

JOB = "replay_dead_letters"
STEP = "replay"


class Replay(dg.Config):
    """Which dead letters to try again."""

    ids: list[int] | None = Field(
        default=None, description="Rows of task_failures, parked ones included; all whose retry is due when empty."
    )


@dataclass(frozen=True)
class Group:
    """Claimed rows that one run can do: of one task, one partition range and one config; symbols None means all."""

    task_name: str
    partition_key: str
    config: Mapping[str, Any]
    symbols: frozenset[str] | None
    ids: tuple[int, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Group":
        """The group of one row alone."""
        kwargs = row["kwargs"]
        config = {**(kwargs.get("config") or {})}
        if kwargs.get("providers"):
            config["providers"] = kwargs["providers"]
        symbols = _symbols(row)
        return cls(
            row["task_name"],
            row["partition_key"],
            config,
            None if symbols is None else frozenset(symbols),
            (row["id"],),
        )

    def joined(self, other: "Group") -> "Group":
        """Both in one run."""
        everyone = None if self.symbols is None or other.symbols is None else self.symbols | other.symbols
        return replace(self, symbols=everyone, ids=self.ids + other.ids)

    def belongs_to(self, other: "Group") -> bool:
        """Whether one run can do both."""
        mine, others = ((g.task_name, g.partition_key, g.config) for g in (self, other))
        return mine == others

    @property
    def run_config(self) -> dict[str, Any]:
        """The config of its run."""
        return dict(self.config) | ({} if self.symbols is None else {"symbols": sorted(self.symbols)})


def replay(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, run_id: str, ids: list[int] | None
) -> int:
    """Try `ids` again, or all rows whose retry is due, on behalf of the run `run_id`; returns how many were taken.

    Work that succeeds has its rows resolved by its own transaction; the others are open again with their next wait, or
    parked. Rows of instruments that left the universe are discarded, rows of tables that are gone parked.
    """
    from financehub_dagster.storage import replays
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.transactions import in_transaction

    tables = _tables_by_task(repository)
    with transaction() as connection:
        waiting = ids if ids is not None else replays.ids_to_replay(connection, due_only=True)
    taken = 0
    try:
        for group_ids in _groups(waiting):
            rows = in_transaction(partial(_take, run_id, group_ids, tables, due_only=ids is None))
            taken += len(rows)
            if rows:
                group = reduce(Group.joined, map(Group.of, rows))
                _run(repository, instance, run_id, group, tables[group.task_name])
    except BaseException:
        in_transaction(lambda connection: replays.give_back(connection, run_id))
        raise
    return taken


def _groups(ids: Sequence[int]) -> Iterator[list[int]]:
    """The rows of `ids` that belong together, in the order of the first of each."""
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.failures import read_failures

    with transaction() as connection:
        rows = read_failures(connection, ids)
    groups: list[Group] = []
    for number in ids:
        if number not in rows:
            continue
        group = Group.of(rows[number])
        for place, other in enumerate(groups):
            if group.belongs_to(other):
                groups[place] = other.joined(group)
                break
        else:
            groups.append(group)
    yield from (list(group.ids) for group in groups)


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
    from financehub_dagster.storage import replays
    from financehub_dagster.storage.failures import discard_failures
    from financehub_dagster.storage.instruments import list_instruments

    rows = replays.claim(connection, run_id, ids, due_only=due_only)
    unknown = [row for row in rows if row["task_name"] not in tables]
    for row in unknown:
        reason = f"no table or task {row['task_name']} any more: discard it; {row['exception']}"
        replays.park_claimed(connection, run_id, row["id"], reason)
    known = [row for row in rows if row not in unknown]
    active = {instrument.symbol for instrument in list_instruments(connection)}
    left = []
    for row in known:
        symbols = _symbols(row)
        staying = None if symbols is None else [symbol for symbol in symbols if symbol in active]
        if symbols and not staying:
            discard_failures(connection, [row["id"]], f"{', '.join(symbols)} not in the universe any more")
            settle_ledger(connection, row["task_name"], row["partition_key"], symbols)
        else:
            left.append({**row, "kwargs": {**row["kwargs"], "symbols": staying}})
    return left


def _symbols(row: Mapping[str, Any]) -> list[str] | None:
    """The instruments a row is about; None: all."""
    symbols: list[str] | None = [row["symbol"]] if row["symbol"] else row["kwargs"].get("symbols")
    return symbols


def _run(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, run_id: str, group: Group, tables: Sequence[str]
) -> None:
    from dagster._core.errors import DagsterExecutionInterruptedError

    now = datetime.now(UTC)
    partition = partition_at(group.task_name, now) if group.task_name in OF_NOW else group.partition_key
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
    from financehub_dagster.storage import replays
    from financehub_dagster.storage.transactions import in_transaction

    def settle(connection: "Connection") -> None:
        if error is None:
            replays.resolve_claimed(connection, run_id, group.ids)
        else:
            replays.fail_claimed(connection, run_id, group.ids, redact(error))
        symbols = None if group.symbols is None else sorted(group.symbols)
        settle_ledger(connection, group.task_name, group.partition_key, symbols)

    in_transaction(settle)


@dg.op(name=STEP)
def replay_rows(context: dg.OpExecutionContext, config: Replay) -> None:
    """Try the rows again; one that fails again waits on, and fails nothing here."""
    taken = replay(context.repository_def, context.instance, context.run_id, config.ids)
    context.log.info(f"{taken} dead letters tried again")


@dg.job(
    name=JOB,
    description="Do failed work again: the dead letters whose retry is due, or those with the given ids.",
)
def replay_dead_letters() -> None:
    """Each group of rows becomes a run of its table, tagged with this one."""
    replay_rows()
