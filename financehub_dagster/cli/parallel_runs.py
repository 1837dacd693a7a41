"""A backfill split into runs by instruments, which the platform's own workers share.

Belongs here: launching these runs through the running platform, and waiting for them. Does not belong here: a run in
this process (`runs`).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.reports.runs import TableResult, table_result
from financehub_dagster.cli.runs import TableRun, cause_of
from financehub_dagster.cli.signals import StopSignals
from financehub_dagster.cli.supervisor.services import CODE_LOCATION
from financehub_dagster.cli.supervisor.state import running
from financehub_dagster.operations import probes

if TYPE_CHECKING:
    import dagster as dg

POLL_SECONDS = 1.0
_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } ... on InvalidSubsetError { message } } }"""


@dataclass(frozen=True)
class PartOfBackfill:
    """One run: its instruments, how it ended (success, failure or canceled) and what it did to the table."""

    run_id: str
    symbols: list[str]
    status: str
    table: TableResult
    error: str | None = None

    @property
    def broken(self) -> bool:
        """Whether it ended otherwise than by storing what vendors have: killed, canceled, or failed in our own code."""
        return self.status != "success" and not self.table.nothing_stored

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return asdict(self)


def split(symbols: Sequence[str], parts: int) -> list[list[str]]:
    """`symbols` in at most `parts` groups of nearly the same size, the most important ones spread over all of them."""
    return [list(symbols[first::parts]) for first in range(min(parts, len(symbols)))]


def run_in_parts(
    console: Console, stop: StopSignals, home: Home, order: TableRun, symbols: Sequence[str], parts: int
) -> list[PartOfBackfill]:
    """Launch `order` as several runs and wait for all of them; a run that was lost is followed by its retry.

    Raises CommandError where no platform runs here, and StopRequested: the runs go on then.
    """
    import dagster as dg

    state = running(home)
    if state is None or "webserver" not in state.urls:
        raise CommandError("--parallel needs the running platform, whose workers make the runs: `financehub up`")
    [table] = order.tables
    groups = split(symbols, parts)
    launched = [_launch(state.urls["webserver"], order, group) for group in groups]
    console.note(f"{len(launched)} runs were launched; they go on if this command is stopped")
    with dg.DagsterInstance.get() as instance, console.progress("runs") as report:
        while True:
            last = [_last(instance, run_id) for run_id in launched]
            report("runs", sum(run.is_finished for run in last), len(last))
            if all(run.is_finished for run in last):
                return [part_of(instance, run, table, group) for run, group in zip(last, groups, strict=True)]
            stop.check()
            time.sleep(POLL_SECONDS)


def _launch(webserver: str, order: TableRun, symbols: Sequence[str]) -> str:
    from financehub_dagster.automation.queues import queue_tags
    from financehub_dagster.ingest.partitions import range_tags

    [table] = order.tables
    tags = {**range_tags(*(day.isoformat() for day in order.span)), **queue_tags("low")}
    params = {
        "selector": {
            "repositoryLocationName": CODE_LOCATION,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [table]}],
        },
        "runConfigData": {"ops": {table: {"config": {**order.config, "symbols": list(symbols)}}}},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }
    try:
        answer: dict[str, Any] = probes.ask(webserver, _LAUNCH, variables={"params": params})["launchRun"]
    except probes.Trouble as trouble:
        raise CommandError(f"{webserver}: {trouble}; look at `financehub status`") from None
    if answer["__typename"] != "LaunchRunSuccess":
        reasons = [each["message"] for each in answer.get("errors", ())] or [answer.get("message", "no reason")]
        raise CommandError(f"the platform refuses the run: {answer['__typename']}: {reasons[0]}")
    return str(answer["run"]["runId"])


def _last(instance: "dg.DagsterInstance", run_id: str) -> "dg.DagsterRun":
    """The run, or the retry that Dagster has made of it or is about to make, which has not finished then."""
    import dagster as dg
    from dagster._core.storage.tags import ROOT_RUN_ID_TAG, WILL_RETRY_TAG

    retries = instance.get_runs(dg.RunsFilter(tags={ROOT_RUN_ID_TAG: run_id}))
    run = retries[0] if retries else instance.get_run_by_id(run_id)
    if run is None:
        raise CommandError(f"run {run_id[:8]} was deleted while it was waited for")
    if not retries and run.is_failure and run.tags.get(WILL_RETRY_TAG) == "true":
        return run.with_status(dg.DagsterRunStatus.QUEUED)
    return run


def part_of(instance: "dg.DagsterInstance", run: "dg.DagsterRun", table: str, symbols: list[str]) -> PartOfBackfill:
    """What an ended run over `symbols` did to `table`, by its events."""
    import dagster as dg

    status = run.status.value.lower()
    if run.is_success:
        values: dict[str, Any] = {}
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        for record in instance.get_records_for_run(run.run_id, of_type=kind).records:
            found = record.event_log_entry.asset_materialization
            if found is not None and "rows_inserted" in found.metadata:  # the newest partition has the run's numbers
                values = {name: value.value for name, value in found.metadata.items()}
        return PartOfBackfill(run.run_id, symbols, status, table_result(table, values))
    failures = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [each.event_log_entry.dagster_event for each in failures]
    event = next((event for event in events if event is not None), None)
    if event is None:
        error = f"{status}, see `financehub dlq list`" if run.is_failure else status
        return PartOfBackfill(run.run_id, symbols, status, TableResult(table), error)
    told = event.step_failure_data.user_failure_data
    values = {} if told is None else {name: value.value for name, value in told.metadata.items()}
    return PartOfBackfill(run.run_id, symbols, status, table_result(table, values), cause_of(event))
