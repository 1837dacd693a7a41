"""`vintages take|list|remove`: named times as of which all tables are read.

Belongs here: these commands' options and messages. Does not belong here: which times may be named (storage.vintages).
"""

from dataclasses import asdict
from typing import Annotated

import typer

from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.wording import counted

Name = Annotated[str, typer.Argument(help="What it is called wherever a time is asked for.", metavar="NAME")]

app = new_app("Named times: every table as it was known then, the same for ever, for backtests that can be repeated.")


@command(app, "take", example="financehub vintages take momentum-2026 --note 'the paper'")
def take(
    console: Console,
    name: Name,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="An earlier time; else the newest that is settled.", metavar="TIME")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What it is for.", metavar="TEXT")] = "",
) -> None:
    """Name a time, and keep the revisions that it is read from."""
    open_home(console)
    from financehub_dagster.serving.questions import known_at
    from financehub_dagster.storage import vintages
    from financehub_dagster.storage.database.transactions import in_transaction

    at = None if as_of is None else known_at(as_of)
    taken = in_transaction(lambda connection: vintages.take(connection, name, at, note))
    console.result(asdict(taken), lambda: console.say(f"{taken.name}: as of {taken.as_of.isoformat()}"))


@command(app, "list", example="financehub vintages list")
def list_(console: Console) -> None:
    """List all vintages with their times."""
    open_home(console)
    from financehub_dagster.storage import vintages
    from financehub_dagster.storage.database.engine import transaction

    with transaction() as connection:
        found = vintages.listed(connection)
    rows: list[list[Cell]] = [[each.name, each.as_of, each.note, each.taken_at] for each in found]
    console.result(
        {"vintages": [asdict(each) for each in found]},
        lambda: console.table(counted(len(rows), "vintage"), ["name", "as of", "note", "taken at"], rows),
    )


@command(app, "remove", example="financehub vintages remove momentum-2026")
def remove(console: Console, name: Name) -> None:
    """Forget a name; what only it was read from goes with the next clean-up, where revisions are not kept for ever."""
    open_home(console)
    from financehub_dagster.storage import vintages
    from financehub_dagster.storage.database.transactions import in_transaction

    gone = in_transaction(lambda connection: vintages.remove(connection, name))
    console.result(asdict(gone), lambda: console.say(f"{gone.name} is removed; it was as of {gone.as_of.isoformat()}"))
