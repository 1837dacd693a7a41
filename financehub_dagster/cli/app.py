"""The command tree, and the one place where errors become lines and exit codes.

Belongs here: assembling commands and the exit. Does not belong here: what a command does.
"""

import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from financehub_dagster.cli import errors
from financehub_dagster.cli.command import ReaderGone, new_app
from financehub_dagster.cli.commands import (
    archive,
    backfill,
    backup,
    database,
    demo,
    dlq,
    explain,
    export,
    gaps,
    holdings,
    instruments,
    jobs,
    journal,
    platform,
    sandbox,
    serve,
    tables,
    vendors,
    vintages,
    worker,
)
from financehub_dagster.cli.console import write_out

app = new_app(
    "FinanceHub: market data as Dagster assets: complete, within every vendor limit, and explained.", completion=True
)
for _module in (
    demo, platform, journal, backfill, gaps, explain, export, tables, jobs, vendors, serve, worker, sandbox,
):  # fmt: skip
    app.add_typer(_module.app)
for _name, _module in {
    "db": database,
    "backup": backup,
    "instruments": instruments,
    "archive": archive,
    "holdings": holdings,
    "dlq": dlq,
    "vintages": vintages,
}.items():
    app.add_typer(_module.app, name=_name)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from financehub_dagster.version import VERSION

        sys.stdout.write(f"financehub {VERSION} (Dagster {version('dagster')})\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Take the options that belong to no command."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Errors are one line on stderr, and `{"error": …}` with --json."""
    try:
        return int(app(args=list(arguments), prog_name="financehub", standalone_mode=False) or 0)
    except ReaderGone:
        return errors.DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place where any error becomes a line
        line, code = errors.explain(error)
        if "--debug" in arguments:
            traceback.print_exception(error, file=sys.stderr)
        if line:
            sys.stderr.write(f"financehub: {line}\n")
        if "--json" in arguments:
            with suppress(OSError, errors.CommandError):  # the line on stderr has to do
                write_out(json.dumps({"error": line}))
        return code
