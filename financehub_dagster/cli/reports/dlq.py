"""Dead letters for `financehub dlq`: reading, replaying in this process, and printing them.

Belongs here: the commands' work and their tables. Does not belong here: options and exit codes, SQL.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.errors import CommandError, WrongUsage
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.signals import StopSignals
from financehub_dagster.serving.errors import meant
from financehub_dagster.tables import TABLES

type Row = dict[str, Any]

FIRST_LINE = 60
"""Characters of an error in the list; `show` has all of it."""


MOST_NAMED = 3
"""Instruments of a whole step that the list names; `show` has all of them."""


def rows_to_replay(ids: Sequence[int]) -> dict[int, Row]:
    """The rows of `ids`; raises WrongUsage unless every one exists and waits for a retry or for a person."""
    rows = known_rows(ids)
    for number, row in rows.items():
        if row["status"] == "retrying":
            raise WrongUsage(
                f"dead letter {number} is being replayed by run {str(row['replay_run_id'])[:8]}: wait for it"
            )
        if row["status"] not in ("open", "parked"):
            raise WrongUsage(f"dead letter {number} is {row['status']}: there is nothing to replay")
    return rows


def known_rows(ids: Sequence[int]) -> dict[int, Row]:
    """The rows of `ids` without their tracebacks; raises WrongUsage naming the first that does not exist."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.dead_letters.dead_letters import read_failures

    with transaction() as connection:
        rows = read_failures(connection, ids)
    for number in ids:
        if number not in rows:
            raise WrongUsage(
                f"there is no dead letter {number}: `financehub dlq list --status all` shows what there is"
            )
    return rows


def require_known_task(name: str, failed: Sequence[str]) -> None:
    """Raise WrongUsage for a name that is no table and no task that ever failed: nothing under it would look well."""
    known = sorted({*TABLES, *failed})
    if name not in known:
        raise WrongUsage(f"unknown table or task {name}: {meant(name, known, '`financehub tables` lists all tables')}")


def known_row(number: int) -> Row:
    """A row with all columns; raises WrongUsage if it does not exist."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.dead_letters.dead_letters import read_traceback

    [row] = known_rows([number]).values()
    with transaction() as connection:
        return {**row, "traceback": read_traceback(connection, number)}


def replay(console: Console, stop: StopSignals, ids: Sequence[int]) -> list[Row]:
    """Do the work of these rows again in one run of `replay_dead_letters`; returns them as they are afterwards.

    Raises StopRequested when interrupted.
    """
    from financehub_dagster.automation.failures.replay import JOB, STEP
    from financehub_dagster.cli.runs import run_one_job

    outcome, _ = run_one_job(console, stop, JOB, {"ops": {STEP: {"config": {"ids": list(ids)}}}})
    if not outcome.success:
        raise CommandError(f"run {outcome.run_id[:8]} failed: {outcome.error or 'no reason was recorded'}")
    return list(known_rows(ids).values())


def deferred_since(rows: Sequence[Row], began: datetime) -> dict[int, str]:
    """The rows whose work has been deferred since `began` (aware), and until when and why: nothing of it is done."""
    from financehub_dagster.automation.failures.replay_groups import symbols_of
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.dead_letters.deferred_work import live_deferrals

    with transaction() as connection:
        waiting = [row for row in live_deferrals(connection) if row["deferred_at"] >= began]  # type: ignore[operator]
    found: dict[int, str] = {}
    for row in rows:
        own = symbols_of(row)
        for each in waiting:
            if each["task_name"] == row["task_name"] and (own is None or each["symbol"] in own):
                found.setdefault(row["id"], f"until {each['until']:%Y-%m-%d %H:%M:%S} UTC: {each['reason']}")
    return found


def give_back_of_ended_replays() -> None:
    """Release the rows of replays that were killed, which the daemon does by itself where it runs."""
    import dagster as dg

    from financehub_dagster.automation.failures.lost_runs import fail_lost_runs
    from financehub_dagster.automation.failures.recovery import give_back_rows

    with dg.DagsterInstance.get() as instance:
        fail_lost_runs(instance)
        give_back_rows(instance)


def run_url(home: Home, run_id: str | None) -> str | None:
    """Where the webserver shows a run; None when it does not run."""
    from financehub_dagster.cli.platform_runs import address

    webserver = address(home)
    return None if webserver is None or run_id is None else f"{webserver}/runs/{run_id}"


def show_list(console: Console, rows: Sequence[Mapping[str, Any]], none: str = "no dead letters") -> None:
    """Print one line per row, or `none`."""
    if not rows:
        console.say(none)
        return
    counts = Counter(str(row["status"]) for row in rows)
    title = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    columns = ["id", "task", "partitions", "symbol", "status", "tries", "next retry", "error"]
    console.table(title, columns, [_line(row) for row in rows])


def show_one(console: Console, row: Mapping[str, Any], url: str | None) -> None:
    """Print every column of a row, its traceback last."""
    for name, value in row.items():
        if name not in ("traceback", "run_id"):
            console.say(f"{name:<16} {'-' if value in (None, '') else value}")
    console.say(f"{'run':<16} {url or row['run_id'] or '-'}")
    if row["traceback"]:
        console.say(f"\n{row['traceback'].rstrip()}")


def _line(row: Mapping[str, Any]) -> list[Cell]:
    due = row["next_retry_at"]
    error = str(row["exception"]).partition("\n")[0]
    return [
        str(row["id"]),
        row["task_name"],
        row["partition_key"] or None,
        row["symbol"] or _of_step(row["kwargs"].get("symbols")),
        row["status"],
        row["attempts"],
        None if due is None else f"{due:%Y-%m-%d %H:%M}",
        error if len(error) <= FIRST_LINE else f"{error[: FIRST_LINE - 1]}…",
    ]


def _of_step(symbols: Sequence[str] | None) -> str:
    """The instruments of a whole step, shortly; None: all."""
    if symbols is None:
        return "(all)"
    more = len(symbols) - MOST_NAMED
    return ", ".join(symbols[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
