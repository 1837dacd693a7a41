"""`explain`: where a stored number comes from.

Belongs here: the command's options. Does not belong here: its work (serving.explain) and its words (reports.explain).
"""

from datetime import date
from typing import Annotated

import typer

from financehub_dagster.cli.arguments import tables_like
from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import WrongUsage

app = new_app()


@command(app, "explain", example="financehub explain AAPL 2015-06-12 --column rsi_14")
def explain(
    console: Console,
    symbol: Annotated[str, typer.Argument(help="Which instrument.", metavar="SYMBOL")],
    day: Annotated[str, typer.Argument(help="Which session.", metavar="YYYY-MM-DD")],
    column: Annotated[
        str | None,
        typer.Option("--column", help="One value: a price, or an indicator with its inputs.", metavar="NAME"),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", help="Not the daily bars or indicators.", metavar="TABLE", autocompletion=tables_like),
    ] = None,
) -> None:
    """Show where a stored value comes from: vendor, run, revisions, actions, other vendors, ledger, inputs."""
    try:
        session = date.fromisoformat(day)
    except ValueError:
        raise WrongUsage(f"{day}: write the day as 2015-06-12") from None
    open_home(console)
    from financehub_dagster.cli.reports import explain as report
    from financehub_dagster.serving import explain as work

    found = work.explain(symbol, session, column=column, table=table)
    if found.asked_as != found.symbol:
        console.note(f"{found.asked_as} is {found.symbol} now")
    console.result(found, lambda: report.show(console, found))
