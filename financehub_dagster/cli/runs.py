"""Dagster runs in this process, watched: progress, requests to stop, and the outcome as plain data.

Belongs here: the command line's side of a run. Does not belong here: launching (automation.runs) and printing.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib import import_module
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Console, Progress, silent
from financehub_dagster.cli.home import home_in_use
from financehub_dagster.cli.reports.runs import RunResult, table_result
from financehub_dagster.cli.signals import StopRequested, StopSignals
from financehub_dagster.cli.supervisor.services import DEFINITIONS

if TYPE_CHECKING:
    import dagster as dg

    from financehub_dagster.automation.runs import RunOutcome
    from financehub_dagster.market.instruments import Instrument

POLL_SECONDS = 0.5
INSTRUMENTS_NAMED = 10
"""Instruments of a check's finding that a warning names."""


def code_location() -> "dg.Definitions":
    """The definitions, loaded by the module's name as Dagster itself loads them."""
    definitions: dg.Definitions = import_module(DEFINITIONS).defs
    return definitions


def do_nothing() -> None:
    """What an order does when fetching begins, unless it says otherwise."""


@dataclass(frozen=True)
class TableRun:
    """One run to make, from the partition that begins with the first day of span to that of the last.

    symbols None means all active ones. totals maps a step that asks vendors to its number of instruments, for the
    progress bar. fetching is called once, when the first of these steps begins and the processor is about to wait for
    vendors' limits. providers, where given, are asked in place of those that the tables are configured to ask. drawn:
    whether the run draws its instruments for the webserver.
    """

    tables: Sequence[str]
    span: tuple[date, date]
    symbols: Sequence[str] | None
    totals: Mapping[str, int] = field(default_factory=dict)
    fetching: Callable[[], None] = do_nothing
    providers: Sequence[str] | None = None
    drawn: bool = True

    @property
    def config(self) -> dict[str, object]:
        """What every table is told that takes such a config."""
        told = {"symbols": self.symbols, "providers": self.providers}
        return {name: list(values) for name, values in told.items() if values is not None}


def run_order(console: Console, stop: StopSignals, order: TableRun) -> RunResult:
    """Materialize the tables of `order` as one run in this process.

    Raises StopRequested when interrupted; what was stored until then stays.
    """
    import dagster as dg
    from dagster._core.errors import DagsterExecutionInterruptedError

    from financehub_dagster.assets.charts import PICTURES_TAG
    from financehub_dagster.automation.runs import run_tables
    from financehub_dagster.storage.queries.partition_keys import key_of

    partitions = key_of(*(day.isoformat() for day in order.span))
    repository = code_location().get_repository_def()
    with console.progress("preparing the run") as report, watched(report, order) as watch, event_log(console):

        def seen(event: "dg.DagsterEvent") -> None:
            stop.check()
            watch.on_event(event)

        try:
            with dg.DagsterInstance.get() as instance:
                outcome = run_tables(
                    repository,
                    order.tables,
                    partitions,
                    order.config,
                    instance=instance,
                    tags=None if order.drawn else {PICTURES_TAG: "none"},
                    on_event=seen,
                )
        except DagsterExecutionInterruptedError:
            raise StopRequested from None
    if outcome.interrupted:
        raise StopRequested
    return result_of(outcome, watch)


def run_one_job(
    console: Console, stop: StopSignals, name: str, config: Mapping[str, object]
) -> "tuple[RunOutcome, dict[str, str]]":
    """Run a job in this process: its outcome, and the tags of the run; raises StopRequested when interrupted."""
    import dagster as dg
    from dagster._core.errors import DagsterExecutionInterruptedError

    from financehub_dagster.automation.runs import run_job

    repository = code_location().get_repository_def()
    try:
        with event_log(console), dg.DagsterInstance.get() as instance:
            outcome = run_job(repository, name, config, instance=instance, on_event=lambda _: stop.check())
            run = instance.get_run_by_id(outcome.run_id)
    except DagsterExecutionInterruptedError:
        raise StopRequested from None
    if outcome.interrupted:
        raise StopRequested
    return outcome, {} if run is None else dict(run.tags)


def universe() -> "list[Instrument]":
    """Every instrument, removed ones included."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    with transaction() as connection:
        return list_instruments(connection, active=None)


@contextmanager
def event_log(console: Console) -> Iterator[None]:
    """Send the events that Dagster prints to a log file, unless someone debugs."""
    if console.debug:
        yield
        return
    with (home_in_use().logs / "runs.log").open("a", encoding="utf-8") as log, redirect_stderr(log):
        yield


def result_of(outcome: "RunOutcome", watch: "Watch") -> RunResult:
    """What an ended run did, by its events; its tables in the order in which they were asked for."""
    names = sorted(outcome.tables, key=watch.tables.index)
    tables = [table_result(name, outcome.tables[name]) for name in names]
    by_name = {f"{check.asset_key.to_user_string()}: {check.check_name}": check for check in outcome.checks}
    checks = {name: _verdict(check.passed, check.severity.value) for name, check in by_name.items()}
    findings = {name: _finding(check) for name, check in by_name.items() if not check.passed}
    error = watch.error or outcome.error
    return RunResult(outcome.run_id, outcome.success, error, tables, checks, watch.seconds, findings)


def _verdict(passed: bool, severity: str) -> str:
    if passed:
        return "passed"
    return "failed" if severity == "ERROR" else "warned"


def _finding(check: "dg.AssetCheckEvaluation") -> str:
    """What a check found, in one line; its message names the first instrument, here follow the others."""
    rows = check.metadata.get("offending_rows")
    records = [record.data for record in getattr(rows, "records", ())]
    symbols = list(dict.fromkeys(str(record["symbol"]) for record in records if record.get("symbol")))
    if len(symbols) < 2:
        return check.description or ""
    shown = ", ".join(symbols[:INSTRUMENTS_NAMED])
    more = f" and {len(symbols) - INSTRUMENTS_NAMED} more" if len(symbols) > INSTRUMENTS_NAMED else ""
    return f"{check.description}; instruments: {shown}{more}"


def cause_of(failure: "dg.DagsterEvent") -> str | None:
    """What the code of a failed step raised, without Dagster's wrapping and the name of the class."""
    data = failure.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return None if error is None else re.sub(rf"^[\w.]*{error.cls_name}: ", "", error.message.strip())


@contextmanager
def looking(report: Progress, look: Callable[[], None]) -> Iterator[None]:
    """Call `look`, which reports, every POLL_SECONDS in a thread of its own; never where nobody watches."""
    if report is silent:  # looking is no small part of a short run
        yield
        return
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_SECONDS):
            look()

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def watched(report: Progress, order: TableRun) -> Iterator["Watch"]:
    """A watch of one run, which reports progress until it is left."""
    watch = Watch(report, order)
    with looking(report, watch.look):
        yield watch


class Watch:
    """Times steps, and reports each by the vendor calls made since it began, which is what long runs wait for."""

    def __init__(self, report: Progress, order: TableRun) -> None:
        self.report = report
        self.tables = list(order.tables)
        self.totals = order.totals
        self.fetching: Callable[[], None] | None = order.fetching
        self.seconds: dict[str, float] = {}
        self.error: str | None = None
        self._step: str | None = None
        self._calls_before = 0

    def on_event(self, event: "dg.DagsterEvent") -> None:
        """Note an event of the run, soon after it happened."""
        step = event.step_key
        if step is None:
            return
        if event.event_type_value == "STEP_START":
            if step in self.totals:
                if self.fetching is not None:
                    self.fetching()
                    self.fetching = None
                if self.report is not silent:
                    self._calls_before, self._step = _calls_today(), step
                self.report(step, 0, self.totals[step])
        elif event.event_type_value in ("STEP_SUCCESS", "STEP_FAILURE"):
            if event.is_step_failure:
                self.error = self.error or cause_of(event)
            else:
                self.seconds[step] = round(event.step_success_data.duration_ms / 1000, 1)
            if step in self.totals:
                self._step = None
                self.report(step, self.totals[step], self.totals[step])

    def look(self) -> None:
        """Report how far the step has come that asks vendors."""
        step = self._step
        if step is not None:
            total = self.totals[step]
            self.report(step, min(_calls_today() - self._calls_before, total), total)


def _calls_today() -> int:
    from financehub_dagster.storage.database.engine import market_engine
    from financehub_dagster.storage.rate_limits.usage import read

    return sum(usage.calls for usage in read(market_engine(), datetime.now(UTC).date()))
