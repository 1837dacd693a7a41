"""Statistics of every job, for `financehub status --tasks`.

Belongs here: one row for each job. Does not belong here: counting runs (storage.operations.job_statistics).
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Home, enter, require_started

if TYPE_CHECKING:
    from collections.abc import Iterable

    from financehub_dagster.storage.operations.job_statistics import JobStatistics

AD_HOC = "__ASSET_JOB"
"""Dagster's name for runs of assets that no job names: backfills, and materializations from the webserver."""


@dataclass(frozen=True)
class Task:
    """A job's finished runs since the beginning; mean_seconds over all that succeeded or failed; times in UTC."""

    job: str
    succeeded: int
    failed: int
    canceled: int
    mean_seconds: float | None
    last_success: datetime | None
    last_failure: datetime | None


def tasks(statistics: "Iterable[JobStatistics]") -> list[Task]:
    """One row for each job, by name."""
    jobs: defaultdict[str, dict[str, JobStatistics]] = defaultdict(dict)
    for each in statistics:
        jobs[each.job_name][each.outcome] = each
    return [_task(job, outcomes) for job, outcomes in sorted(jobs.items())]


def _task(job: str, outcomes: "dict[str, JobStatistics]") -> Task:
    success, failure = outcomes.get("success"), outcomes.get("failure")
    timed = [each for each in (success, failure) if each is not None]
    runs = sum(each.runs for each in timed)
    return Task(
        job="assets without a job" if job == AD_HOC else job,
        succeeded=0 if success is None else success.runs,
        failed=0 if failure is None else failure.runs,
        canceled=outcomes["canceled"].runs if "canceled" in outcomes else 0,
        mean_seconds=round(sum(each.seconds for each in timed) / runs, 2) if runs else None,
        last_success=None if success is None else success.last_ended_at,
        last_failure=None if failure is None else failure.last_ended_at,
    )


def collect(home: Home) -> list[Task]:
    """Read the statistics of a home whose database runs; nothing is started for it."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.errors import CommandError
    from financehub_dagster.storage.database import embedded
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.urls import is_embedded
    from financehub_dagster.storage.operations import job_statistics

    enter(home, require_started(home))
    if is_embedded() and not embedded.status(home.path).running:
        raise CommandError(f"{home.path}: the database is not running: `financehub up` starts it")
    prepare.require_migrated()
    with transaction() as connection:
        return tasks(job_statistics.read(connection))


def show(console: Console, found: list[Task]) -> None:
    """Print the table."""
    columns = ["job", "succeeded", "failed", "canceled", "mean s", "last success", "last failure"]
    rows = [
        [
            each.job,
            each.succeeded,
            each.failed,
            each.canceled,
            each.mean_seconds,
            *(None if at is None else f"{at:%Y-%m-%d %H:%M:%S}" for at in (each.last_success, each.last_failure)),
        ]
        for each in found
    ]
    console.table("finished runs of every job, counted each minute", columns, rows)
