"""`jobs`: what runs, what starts it and when, and what it fills, read off the definitions.

Belongs here: the command, its rows and their Markdown, which `docs/jobs.md` holds too. Does not belong here: the jobs
(automation).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.reports.predecessors import PREDECESSORS

if TYPE_CHECKING:
    import dagster as dg

ON_REQUEST = "on request"
LAUNCHES_NOTHING = "no run"
_DAILY = "every table of daily bars that takes the instrument, and what is computed from it"
_FILLS = {
    "update_single_asset": _DAILY,
    "historical_seed": f"{_DAILY}; or its minutes and longer bars",
    "rank_instruments": "`instruments.importance`",
    "reconcile_prices": "`discrepancies`, `measured_bars`",
    "replay_dead_letters": "the tables of the failed work",
    "cleanup_failed_tasks": "deletes from `task_failures`",
    "cleanup_old_data": "deletes from whatever grows",
    "health_check": "`health_checks`",
    "health_check_sensor": "`health_checks`, `sla_breaches`, `alerts`",
    "dead_letter_failed_runs": "`task_failures`",
    "cleanup_repeated_runs": "deletes old runs and ticks of jobs that run all day",
    "follow_inputs": "`levels_daily`, `pivot_points`",
    "observe_api_usage_sensor": "`api_usage`",
    "recovery": "ends lost runs, reports rows without an event",
    "test_connection": "nothing; it fails with the names of those that do not answer",
}
"""What jobs of steps without an asset fill, and sensors that launch no job."""

app = new_app()


@command(app, "jobs", example="financehub jobs --markdown")
def jobs(
    console: Console,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables, as in the docs.")] = False,
) -> None:
    """List every job: what starts it and when, the class of its runs, and the tables it fills."""
    from financehub_dagster.cli.runs import code_location

    found = collect(code_location())
    if markdown and not console.as_json:
        console.say(as_markdown(found))
        return
    console.result({"jobs": found}, lambda: show(console, found))


@dataclass(frozen=True)
class JobRow:
    """A job, or a sensor that launches none of ours: tasks it replaces, what starts it, its class, what it fills."""

    job: str
    replaces: list[int]
    started_by: list[str]
    on: bool | None
    queue: str
    fills: str


def collect(definitions: "dg.Definitions") -> list[JobRow]:
    """One row for each job by name, then those sensors that launch none of them."""
    import dagster as dg
    from dagster._core.definitions.sensor_definition import SensorDefinition

    from financehub_dagster.automation.queues import QUEUE_TAG

    repository = definitions.get_repository_def()
    started: dict[str, list[tuple[str, bool]]] = {}
    rows: list[JobRow] = []
    for schedule in repository.schedule_defs:
        cadence = f"`{schedule.cron_schedule}` {schedule.execution_timezone or 'UTC'}"
        started.setdefault(schedule.job_name, []).append((cadence, _is_on(schedule)))
    for sensor in repository.sensor_defs:
        assert isinstance(sensor, SensorDefinition)
        cadence = f"`{sensor.name}`, every {sensor.minimum_interval_seconds} s"
        for job in _launched(sensor):
            started.setdefault(job, []).append((cadence, _is_on(sensor)))
        if not _launched(sensor):
            rows.append(
                JobRow(
                    sensor.name,
                    _replaced(sensor.name),
                    [cadence],
                    _is_on(sensor),
                    sensor.run_tags[QUEUE_TAG]
                    if isinstance(sensor, dg.AutomationConditionSensorDefinition)
                    else LAUNCHES_NOTHING,
                    _FILLS[sensor.name],
                )
            )
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    return [*(_row(job, started.get(job.name, [])) for job in sorted(jobs, key=lambda each: each.name)), *rows]


def _launched(sensor: "dg.SensorDefinition") -> list[str]:
    return [target.job_name for target in sensor.targets if target.has_job_def or target.job_name]


def _is_on(of: "dg.ScheduleDefinition | dg.SensorDefinition") -> bool:
    return bool(of.default_status.value == "RUNNING")


def _replaced(name: str) -> list[int]:
    return [each.number for each in PREDECESSORS if name in each.jobs]


def _row(job: "dg.JobDefinition", started: Sequence[tuple[str, bool]]) -> JobRow:
    from financehub_dagster.automation.queues import QUEUE_TAG

    return JobRow(
        job.name,
        _replaced(job.name),
        [cadence for cadence, _ in started] or [ON_REQUEST],
        all(on for _, on in started) if started else None,
        job.run_tags[QUEUE_TAG],
        _fills(job),
    )


def _fills(job: "dg.JobDefinition") -> str:
    from financehub_dagster.automation.jobs.combined_jobs import ALL_MARKETS, UNIFIED_CRYPTO
    from financehub_dagster.automation.jobs.daily_close import LEVELS
    from financehub_dagster.tables import BARS_OF, TABLES, filled_with

    together = {
        "fetch_unified_crypto": [table for part in UNIFIED_CRYPTO for table in part.tables],
        "fetch_all_markets": [table for part in ALL_MARKETS for table in part.tables],
        "batch_update_popular": [table for part in ALL_MARKETS for table in part.tables],
        "daily_close": [*(each for table in BARS_OF for each in (table, *filled_with(table))), LEVELS],
    }
    if job.name in _FILLS:
        return _FILLS[job.name]
    chosen = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    return _named(together.get(job.name) or [*(name for name in TABLES if name in chosen), *sorted(chosen - {*TABLES})])


def _named(tables: Iterable[str]) -> str:
    return ", ".join(f"`{table}`" for table in tables)


def as_markdown(rows: Sequence[JobRow]) -> str:
    """Two Markdown tables: the jobs, and the predecessors' tasks."""
    numbers = {each.number: each for each in PREDECESSORS}
    lines = ["| predecessor's task | job | started by | default | class | fills |", "|---|---|---|---|---|---|"]
    for row in rows:
        theirs = "<br>".join(f"{number}: {numbers[number].theirs}" for number in row.replaces)
        default = "" if row.on is None else "on" if row.on else "off"
        cells = [theirs, f"`{row.job}`", "<br>".join(row.started_by), default, row.queue, row.fills]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| # | FinanceHub and TradeMatrix had | here |", "|---|---|---|"]
    for each in PREDECESSORS:
        here = ", ".join([*(f"`{job}`" for job in each.jobs), *([each.here] if each.here else [])])
        lines.append(f"| {each.number} | {each.theirs} | {here} |")
    return "\n".join(lines)


def show(console: Console, rows: Sequence[JobRow]) -> None:
    """Print the jobs to the terminal."""
    cells: list[list[Cell]] = [[row.job, "; ".join(row.started_by).replace("`", ""), row.queue] for row in rows]
    console.table(f"jobs and sensors: {len(rows)}", ["job", "started by", "class"], cells)
