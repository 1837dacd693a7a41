"""Putting right what a killed process left behind: its run, its work, its rows without an event, its claims.

Belongs here: the order of recovering, and reporting committed rows. Does not belong here: when it happens: every start
of the platform, a sensor, and whoever calls `recover`. Doing it twice, or in two processes at once, changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.automation.failures.failed_runs import BATCH, LOOKBACK, write_unfinished
from financehub_dagster.automation.failures.lost_runs import fail_lost_runs
from financehub_dagster.automation.run_facts import contained
from financehub_dagster.ingest.partitions import partitions_between
from financehub_dagster.storage.lineage.pending_materializations import UnreportedWrite

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Connection

CLOCKS = 3600.0
"""Seconds by which the clocks of two machines may differ when one looks for the other's events."""


@dataclass(frozen=True)
class Recovered:
    """What a recovery did: runs it failed, undone steps it wrote down, partitions it reported, rows it gave back."""

    lost_runs: list[str] = field(default_factory=list)
    unfinished_steps: int = 0
    reported: dict[str, list[str]] = field(default_factory=dict)
    given_back: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost_runs or self.unfinished_steps or self.reported or self.given_back)


def recover(instance: dg.DagsterInstance, now: datetime, *, failed_runs: bool = True) -> Recovered:
    """Put right what killed processes left; `now` is an aware instant.

    In this order: runs whose process is gone are failed, the undone steps of failed runs become dead letters, rows that
    were committed without an event are reported, and replays that ended give back the dead letters they hold. Without
    `failed_runs` the second is left to the sensor that follows their events.
    """
    lost = fail_lost_runs(instance)
    unfinished = 0
    if failed_runs:
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - LOOKBACK)
        unfinished = sum(
            write_unfinished(instance, batch) for batch in batched(instance.get_run_records(failed), BATCH)
        )
    return Recovered(lost, unfinished, report_committed(instance), give_back_rows(instance))


def report_committed(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """Report the partitions whose rows a run committed and did not report before it ended; returns them by table."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.lineage.pending_materializations import runs_with_notes, settling

    with transaction() as connection:
        run_ids = runs_with_notes(connection)
    reported: dict[str, list[str]] = {}
    for run_id in run_ids:
        if _goes_on(instance, run_id):
            continue
        with contained(f"what run {run_id} wrote cannot be reported"), settling(run_id) as notes:
            for note in notes:
                partitions = _report(instance, note)
                if partitions:
                    reported.setdefault(note.table_name, []).extend(partitions)
    return reported


def give_back_rows(instance: dg.DagsterInstance) -> int:
    """Give back the dead letters that an ended replay still holds, as failed once more; returns how many."""
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters import replays

    def give_back(connection: "Connection") -> int:
        ended = [run for run in replays.replays_in_progress(connection) if not _goes_on(instance, run)]
        return sum(replays.give_back(connection, run_id) for run_id in ended)

    return in_transaction(give_back)


def _goes_on(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished


def _report(instance: dg.DagsterInstance, note: UnreportedWrite) -> Sequence[str]:
    keys = partitions_between(note.table_name, note.first_date, note.last_date)
    done = _already_reported(instance, note, keys)
    wanted = [key for key in keys if key not in done]
    metadata: dict[str, dg.MetadataValue | bool | str] = {
        "reconciled": True,
        "run": dg.MetadataValue.dagster_run(note.run_id),
        "why": "The run committed these rows and ended before it could report them.",
    }
    for key in wanted:
        instance.report_runless_asset_event(dg.AssetMaterialization(note.table_name, partition=key, metadata=metadata))
    return wanted


def _already_reported(instance: dg.DagsterInstance, note: UnreportedWrite, keys: Sequence[str]) -> set[str]:
    """The partitions that the run itself reported, or that an earlier recovery reported for it."""
    events = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(note.table_name),
            asset_partitions=list(keys),
            after_timestamp=note.written_at.timestamp() - CLOCKS,
        ),
        limit=10 * len(keys),
    )
    found = set()
    for record in events.records:
        materialization = record.asset_materialization
        if materialization is not None and materialization.partition is not None:
            of_run = materialization.metadata.get("run")
            if record.run_id == note.run_id or (of_run is not None and of_run.value == note.run_id):
                found.add(materialization.partition)
    return found
