"""Runs that the running platform makes for a command: one, followed event by event, or a backfill's parts.

Belongs here: launching these runs through the webserver, and waiting for them. Does not belong here: a run in this
process (`runs`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.reports.runs import RunResult, TableResult, table_result
from financehub_dagster.cli.runs import TableRun, Watch, cause_of, event_log, result_of, watched
from financehub_dagster.cli.signals import StopRequested, StopSignals
from financehub_dagster.cli.supervisor.services import CODE_LOCATION
from financehub_dagster.cli.supervisor.state import running
from financehub_dagster.operations import probes
from financehub_dagster.tables import TABLES
from financehub_dagster.tables.declaration import Queue
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    import dagster as dg

POLL_SECONDS = 1.0
FOLLOW_SECONDS = 0.2
"""How often a run that is followed is asked for its new events: two short queries."""
EVENTS_AT_ONCE = 500
QUEUED_SECONDS = 10.0
"""A run that has waited this long for a place is told of; the queue looks every second."""
_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
_CANCEL = "mutation($run: String!) { terminateRun(runId: $run) { __typename } }"


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


def split(symbols: Sequence[str], parts: int) -> list[list[str]]:
    """`symbols` in at most `parts` groups of nearly the same size, the most important ones spread over all of them."""
    return [list(symbols[first::parts]) for first in range(min(parts, len(symbols)))]


def run_in_parts(
    console: Console, stop: StopSignals, home: Home, order: TableRun, symbols: Sequence[str], parts: int
) -> list[PartOfBackfill]:
    """Launch `order` as several runs and wait for all; what they did to its first table is told.

    A run that was lost is followed by its retry. Raises CommandError where no platform runs here, and StopRequested:
    the runs go on then.
    """
    import dagster as dg

    webserver = address(home)
    if webserver is None:
        raise CommandError("--parallel needs the running platform, whose workers make the runs: `financehub up`")
    table = order.tables[0]
    groups = split(symbols, parts)
    try:
        launched = [_launch(webserver, replace(order, symbols=group), "low") for group in groups]
    except probes.Trouble as trouble:
        raise CommandError(f"{webserver}: {trouble}; look at `financehub status`") from None
    console.note(f"{counted(len(launched), 'run')} launched, which will go on if this command is stopped")
    with event_log(console), dg.DagsterInstance.get() as instance, console.progress("runs") as report:
        while True:
            last = [last_run(instance, run_id) for run_id in launched]
            report("runs", sum(run.is_finished for run in last), len(last))
            if all(run.is_finished for run in last):
                return [part_of(instance, run, table, group) for run, group in zip(last, groups, strict=True)]
            stop.check()
            time.sleep(POLL_SECONDS)


def address(home: Home) -> str | None:
    """Where the webserver of the platform that runs in this home answers; None when none runs."""
    state = running(home)
    return None if state is None else state.urls.get("webserver")


def run_on_platform(console: Console, stop: StopSignals, webserver: str, order: TableRun) -> RunResult:
    """Have the platform make `order` as one run, before others that wait, and follow it to its end.

    Its workers have loaded what a process of its own would load first. A run that was lost is followed by its retry.
    Raises probes.Trouble where the webserver does not work, CommandError where it refuses the run, and StopRequested
    when interrupted: the run is cancelled, and what was stored until then stays.
    """
    import dagster as dg

    run_id = _launch(webserver, order, "high")
    with (
        event_log(console),
        dg.DagsterInstance.get() as instance,
        console.progress("waiting for a place") as report,
        watched(report, order) as watch,
    ):
        try:
            return _follow(console, stop, instance, run_id, watch)
        except StopRequested:
            _cancel(console, webserver, run_id)
            raise


def _follow(
    console: Console, stop: StopSignals, instance: "dg.DagsterInstance", run_id: str, watch: Watch
) -> RunResult:
    from financehub_dagster.automation.runs import RunOutcome, note

    outcome, cursor = RunOutcome(run_id, success=False), None
    queued, told = time.monotonic(), False
    while True:
        run = last_run(instance, run_id)  # before its events, so that an ended run has them all
        if run.run_id != outcome.run_id:
            outcome, cursor = RunOutcome(run.run_id, success=False), None
        page = instance.get_records_for_run(run.run_id, cursor=cursor, limit=EVENTS_AT_ONCE)
        cursor = page.cursor
        for record in page.records:
            event = record.event_log_entry.dagster_event
            if event is not None:
                note(event, outcome)
                watch.on_event(event)
        if run.is_finished and not page.has_more:
            if run.status.value == "CANCELED":
                raise CommandError(f"run {run.run_id[:8]} was cancelled; what it had stored until then stays")
            return result_of(outcome, watch)
        if not told and run.status.value == "QUEUED" and time.monotonic() - queued > QUEUED_SECONDS:
            console.note(f"run {run.run_id[:8]} waits for others to end; it starts as soon as there is a place")
            told = True
        stop.wait(0 if page.has_more else FOLLOW_SECONDS)


def _cancel(console: Console, webserver: str, run_id: str) -> None:
    try:
        probes.ask(webserver, _CANCEL, variables={"run": run_id})
    except probes.Trouble as trouble:
        console.warn(f"run {run_id[:8]} could not be cancelled and goes on: {webserver}: {trouble}")


def _launch(webserver: str, order: TableRun, queue: Queue) -> str:
    """The identifier of the run, which waits in the platform's queue then; raises probes.Trouble."""
    from financehub_dagster.assets.charts import PICTURES_TAG
    from financehub_dagster.automation.queues import queue_tags
    from financehub_dagster.ingest.partitions import range_tags

    tags = {**range_tags(*(day.isoformat() for day in order.span)), **queue_tags(queue)}
    if not order.drawn:
        tags[PICTURES_TAG] = "none"
    steps = dict.fromkeys(TABLES[table].filled_by for table in order.tables)
    params = {
        "selector": {
            "repositoryLocationName": CODE_LOCATION,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [table]} for table in order.tables],
        },
        "runConfigData": {"ops": {step: {"config": order.config} for step in steps}},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }
    answer: Mapping[str, Any] = probes.ask(webserver, _LAUNCH, variables={"params": params})["launchRun"]
    if answer["__typename"] != "LaunchRunSuccess":
        reasons = [each["message"] for each in answer.get("errors", ())] or [answer.get("message", "no reason")]
        if probes.UNREACHABLE in reasons[0]:
            raise CommandError("the code server does not answer: try again in a minute; `financehub status` shows it")
        raise CommandError(f"the platform refuses the run: {answer['__typename']}: {reasons[0]}")
    return str(answer["run"]["runId"])


def last_run(instance: "dg.DagsterInstance", run_id: str) -> "dg.DagsterRun":
    """The run, or the retry that Dagster has made of it or may be about to make, which has not finished then."""
    import dagster as dg
    from dagster._core.storage.tags import ROOT_RUN_ID_TAG, WILL_RETRY_TAG

    retries = instance.get_runs(dg.RunsFilter(tags={ROOT_RUN_ID_TAG: run_id}))
    run = retries[0] if retries else instance.get_run_by_id(run_id)
    if run is None:
        raise CommandError(f"run {run_id[:8]} was deleted while it was waited for")
    # Dagster tags a failed run with whether it will be retried a moment after the failure shows.
    undecided = "true" if instance.run_retries_enabled else "false"
    if not retries and run.is_failure and run.tags.get(WILL_RETRY_TAG, undecided) == "true":
        return run.with_status(dg.DagsterRunStatus.NOT_STARTED)
    return run


def part_of(instance: "dg.DagsterInstance", run: "dg.DagsterRun", table: str, symbols: list[str]) -> PartOfBackfill:
    """What an ended run over `symbols` did to `table`, by its events."""
    import dagster as dg

    status, asset = run.status.value.lower(), dg.AssetKey(table)
    if run.is_success:
        values: dict[str, Any] = {}
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        for record in instance.get_records_for_run(run.run_id, of_type=kind).records:
            found = record.event_log_entry.asset_materialization
            # The newest partition has the run's numbers.
            if found is not None and found.asset_key == asset and "rows_inserted" in found.metadata:
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
