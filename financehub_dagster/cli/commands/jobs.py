"""`jobs`: what runs, what starts it and when, and what it fills.

Belongs here: the command's options and messages. Does not belong here: the rows (reports.jobs).
"""

from typing import Annotated

import typer

from financehub_dagster.cli.command import command
from financehub_dagster.cli.console import Console


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    command(app, "jobs", example="financehub jobs --markdown")(jobs)


def jobs(
    console: Console,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables, as in the docs.")] = False,
) -> None:
    """List every job: what starts it and when, the class of its runs, and the tables it fills."""
    from financehub_dagster.cli.reports import jobs as report
    from financehub_dagster.cli.runs import code_location

    found = report.collect(code_location())
    if markdown and not console.as_json:
        console.say(report.as_markdown(found))
        return
    console.result({"jobs": [each.as_dict() for each in found]}, lambda: report.show(console, found))
