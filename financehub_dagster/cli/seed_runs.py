"""Runs of `historical_seed` in this process, watched: how many of the days the ledger has settled.

Belongs here: the command line's side of a seed. Does not belong here: what a seed does (the job), and printing.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.reports.runs import RunResult, table_result
from financehub_dagster.cli.runs import looking, run_one_job
from financehub_dagster.cli.signals import StopSignals

JOB = "historical_seed"
DAY = 86_400


@dataclass(frozen=True)
class SeedRun:
    """One run to make: which instrument, bars of which interval, and how many days back from today."""

    symbol: str
    interval: str
    days: int


def run_seed(console: Console, stop: StopSignals, order: SeedRun) -> RunResult:
    """Run the job; raises StopRequested when interrupted, what was stored until then stays.

    Raises CommandError where all of the work is deferred, which a run reports as a success that stored nothing.
    """
    from financehub_dagster.automation.jobs.single_asset import DEFERRED_TAG, SEED_STEP, Seed, launchpad

    config = launchpad(SEED_STEP, Seed.model_validate(asdict(order)))
    with console.progress("preparing the run") as report:

        def look() -> None:
            days = settled_days(order, datetime.now(UTC))
            report(f"{order.symbol}: days of {order.interval} bars", days, order.days)

        with looking(report, look):
            outcome, tags = run_one_job(console, stop, JOB, config)
    if DEFERRED_TAG in tags and not outcome.tables:
        raise CommandError(f"nothing was stored: {tags[DEFERRED_TAG].replace(' until', ' is deferred until', 1)}")
    tables = [table_result(name, values) for name, values in sorted(outcome.tables.items())]
    return RunResult(outcome.run_id, outcome.success, outcome.error, tables, checks={}, seconds={})


def settled_days(order: SeedRun, now: datetime) -> int:
    """How many of the days the ledger has settled; minutes are asked for from the oldest day on."""
    from financehub_dagster.storage.coverage import minute_rows
    from financehub_dagster.storage.database.engine import transaction

    if order.interval == "1d":
        return 0  # one request brings them all
    today = int(datetime.combine(now.date(), time(), UTC).timestamp())
    start, stop = today - order.days * DAY, int(now.timestamp())
    with transaction() as connection:
        found = minute_rows.read(connection, [order.symbol]).get(order.symbol)
    if found is None or found.first is None or found.complete_to is None:
        return 0
    stretches = [(found.first, found.complete_to), *((each.start, each.stop) for each in found.unknown)]
    span, *unknown = (max(0, min(end, stop) - max(begin, start)) for begin, end in stretches)
    return int((span - sum(unknown)) / (stop - start) * order.days)
