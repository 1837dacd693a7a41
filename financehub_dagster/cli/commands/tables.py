"""`tables`: what there is, from which vendors or tables, and when it is filled.

Belongs here: the command's options and messages. Does not belong here: the rows (reports.tables).
"""

from typing import Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console

app = new_app()


@command(app, "tables", example="financehub tables --markdown")
def tables(
    console: Console,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table, as in the docs.")] = False,
) -> None:
    """List every table: what it holds, where its rows come from, its partitions, and the jobs that fill it."""
    from financehub_dagster.cli.reports import tables as report

    found = report.collect()
    if markdown and not console.as_json:
        console.say(report.as_markdown(found))
        return
    console.result({"tables": found}, lambda: report.show(console, found))
