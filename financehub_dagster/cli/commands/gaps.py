"""`gaps`: what the ledger says is missing, and filling it at once.

Belongs here: the command's options and messages. Does not belong here: its work (reports.gaps).
"""

from typing import Annotated

import typer

from financehub_dagster.cli.arguments import tables_like
from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.wording import counted

app = new_app()


@command(app, "gaps", example="financehub gaps --symbols AAPL,BTC --heal")
def gaps(
    console: Console,
    table: Annotated[
        str | None, typer.Option("--table", help="Only this table.", metavar="TABLE", autocompletion=tables_like)
    ] = None,
    symbols: Annotated[
        list[str] | None, typer.Option("--symbols", help="Only these, separated by commas.", metavar="A,B")
    ] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Fill what is due now, then show what is left.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Compute the ledger anew first, and say how much of it was wrong.")
    ] = False,
) -> None:
    """Show which sessions are stored, empty, missing, failed or deferred, by table and instrument."""
    from financehub_dagster.cli import arguments, prepare
    from financehub_dagster.cli.reports import gaps as report
    from financehub_dagster.cli.runs import universe
    from financehub_dagster.cli.signals import stop_signals
    from financehub_dagster.tables import BARS_OF, LEDGER_TABLES

    home = prepare.act_on_home(console)
    unfit = "has no sessions to count: nothing is expected there"
    chosen = None if table is None else arguments.table(table, LEDGER_TABLES, unfit)
    wanted = arguments.split_symbols(symbols)
    prepare.require_migrated()
    if wanted is not None:
        wanted = arguments.present(wanted, console.note)
        arguments.instruments_for([chosen or LEDGER_TABLES[-1]], wanted, universe(), BARS_OF)
    rebuilt = report.rebuild() if rebuild else None
    healed = None
    if heal:
        prepare.require_vendors(home)
        prepare.tell_what_is_off(console)
        with stop_signals() as stop:
            healed = report.heal(console, stop, chosen, wanted)
        for symbol, reason in healed.failures.items():
            console.warn(f"{symbol} failed: {reason}")
        for symbol, reason in healed.deferred.items():
            console.warn(f"{symbol} deferred {reason}")
    found = report.collect(chosen, wanted)
    found.rebuilt, found.healed = rebuilt, healed
    failed = healed is not None and (healed.runs_failed > 0 or healed.nothing_done is not None)
    if not (failed and console.as_json):
        console.result(found, lambda: report.show(console, found))
    if healed is not None and failed and not healed.runs_failed:
        raise CommandError(f"nothing was filled: {healed.nothing_done}")
    if healed is not None and failed:
        raise CommandError(
            f"{healed.runs_failed} of {counted(healed.runs, 'run')} failed: {healed.errors[0]}; the work waits in the "
            "dead letters"
        )
