"""`dlq list|show|replay|discard`: the dead letters, which are failed work that waits.

Belongs here: these commands' options and messages. Does not belong here: their work (reports.dlq).
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli import arguments
from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError, WrongUsage
from financehub_dagster.cli.home import home_in_use

if TYPE_CHECKING:
    from financehub_dagster.storage.database.engine import Connection


class Status(StrEnum):
    """What the list can be narrowed to."""

    OPEN = "open"
    RETRYING = "retrying"
    PARKED = "parked"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    LIVE = "live"
    ALL = "all"


Ids = Annotated[list[int], typer.Argument(help="Numbers of dead letters, as `dlq list` shows them.", metavar="ID...")]

app = new_app("The dead letters: failed work that waits for its next try or for a person.")


@command(app, "list", example="financehub dlq list --status parked --symbol AAPL")
def list_(
    console: Console,
    status: Annotated[
        list[Status] | None, typer.Option("--status", help="Only these; live (not settled) ones when not given.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only of this table or task.", metavar="NAME")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only of this instrument.", metavar="SYMBOL")] = None,
) -> None:
    """List failed work, the latest failure first."""
    from financehub_dagster.cli.reports import dlq
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.dead_letters.dead_letters import LIVE, list_failures, task_names

    open_home(console)
    wanted_symbol = None if symbol is None else arguments.present([symbol.strip().upper()], console.note)[0]
    asked = [str(each) for each in status or [Status.LIVE]]
    wanted = [*asked, *(LIVE if Status.LIVE in asked else ())]
    with transaction() as connection:
        rows = list_failures(
            connection,
            statuses=None if Status.ALL in asked else wanted,
            task_name=task,
            symbol=wanted_symbol,
        )
        if task is not None and not rows:
            dlq.require_known_task(task, task_names(connection))
    console.result({"dead_letters": rows}, lambda: dlq.show_list(console, rows))


@command(app, "show", example="financehub dlq show 3")
def show(console: Console, number: Annotated[int, typer.Argument(help="Which one.", metavar="ID")]) -> None:
    """Show all that is known of one: arguments, error, traceback and the run that failed."""
    from financehub_dagster.cli.reports import dlq

    open_home(console)
    row = dlq.known_row(number)
    url = dlq.run_url(home_in_use(), row["run_id"])
    console.result({**row, "run_url": url}, lambda: dlq.show_one(console, row, url))


@command(app, "replay", example="financehub dlq replay 3 7")
def replay(
    console: Console,
    ids: Annotated[
        list[int] | None, typer.Argument(help="Numbers of dead letters, as `dlq list` shows them.", metavar="[ID...]")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are open or parked.")] = False,
    due: Annotated[bool, typer.Option("--due", help="All whose next retry is due.")] = False,
) -> None:
    """Do failed work again now; what fails again waits longer."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.reports import dlq
    from financehub_dagster.cli.signals import stop_signals
    from financehub_dagster.storage.database.engine import database_now, transaction
    from financehub_dagster.storage.dead_letters import replays

    if sum((bool(ids), everything, due)) != 1:
        raise WrongUsage("say which: numbers of dead letters, --all or --due")
    open_home(console)
    dlq.give_back_of_ended_replays()
    if ids:
        chosen = list(dlq.rows_to_replay(list(dict.fromkeys(ids))))
    else:
        with transaction() as connection:
            chosen = replays.ids_to_replay(connection, due_only=due)
    rows, waiting = [], {}
    if chosen:
        prepare.require_vendors(home_in_use())
        began = database_now()
        with stop_signals() as stop:
            rows = dlq.replay(console, stop, chosen)
        waiting = dlq.deferred_since(rows, began)
    for number, reason in waiting.items():
        console.warn(f"the work of dead letter {number} is not done, it is deferred {reason}")
    failed = [row for row in rows if row["status"] not in ("resolved", "discarded")]
    undone = bool(failed) or (bool(rows) and len(waiting) == len(rows))
    if not (undone and console.as_json):
        none = "no dead letter is due" if due else "no dead letters"
        console.result({"dead_letters": rows, "deferred": waiting}, lambda: dlq.show_list(console, rows, none))
    if failed:
        first = failed[0]
        raise CommandError(
            f"{len(failed)} of {len(rows)} failed again; dead letter {first['id']}: {first['exception']}"
        )
    if undone:
        raise CommandError(f"nothing was done: all work is deferred {next(iter(waiting.values()))}")


@command(app, "discard", example="financehub dlq discard 3 --reason delisted")
def discard(
    console: Console,
    ids: Ids,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the row.")] = "by hand",
) -> None:
    """Give failed work up: it is not tried again."""
    from financehub_dagster.automation.failures.dead_letters import settle_groups
    from financehub_dagster.automation.failures.replay_groups import grouped
    from financehub_dagster.cli.reports import dlq
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.dead_letters.dead_letters import LIVE, discard_failures

    open_home(console)
    rows = dlq.known_rows(list(dict.fromkeys(ids)))
    for number, row in rows.items():
        if row["status"] not in LIVE:
            raise WrongUsage(f"dead letter {number} is {row['status']} already")

    def close(connection: "Connection") -> list[int]:
        closed = discard_failures(connection, list(rows), reason)
        settle_groups(connection, grouped(rows.values()))
        return closed

    discarded = in_transaction(close)
    console.result({"discarded": discarded}, lambda: console.say(f"discarded: {', '.join(map(str, discarded))}"))
