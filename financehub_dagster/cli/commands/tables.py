"""`tables`: what there is, from which vendors or tables, and when it is filled.

Belongs here: the command's options and messages. Does not belong here: the rows (reports.tables).
"""

from typing import Annotated

import typer

from financehub_dagster.cli.command import command
from financehub_dagster.cli.console import Console


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    command(app, "tables", example="financehub tables --markdown")(tables)


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
    console.result({"tables": [each.as_dict() for each in found]}, lambda: report.show(console, found))
