"""`usage` and `vendors`: what is left of vendors' budgets, and how right vendors are.

Belongs here: the commands. Does not belong here: the tables (reports.usage, reports.vendors), and whether vendors
answer (`health` of `platform`).
"""

from dataclasses import asdict
from typing import Annotated

import typer

from financehub_dagster.cli import arguments
from financehub_dagster.cli.arguments import tables_like
from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Mode

app = new_app()


@command(app, "usage", example="financehub usage --json")
def usage(console: Console) -> None:
    """Show used and left of every vendor, key and window, which keys rest, and which vendors are off."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.reports.usage import collect, show

    home = prepare.act_on_home(console, new=Mode.LIVE)
    used = prepare.is_set_up()
    if used:
        prepare.require_migrated()
    prepare.lead_to_vendors(home)
    found = collect(used=used)
    console.result(found, lambda: show(console, found))


@command(app, "vendors", example="financehub vendors --markdown")
def vendors(
    console: Console,
    table: Annotated[
        str | None, typer.Option("--table", help="Only this table.", metavar="TABLE", autocompletion=tables_like)
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown tables, with what each kind of error is.")
    ] = False,
) -> None:
    """Show how many of each vendor's daily bars are wrong, by kind of error, as measured against other vendors."""
    from financehub_dagster.cli.reports.vendors import show
    from financehub_dagster.operations.vendor_errors import PER, rates
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.tables import BARS_OF

    chosen = None if table is None else arguments.table(table, BARS_OF, "has no daily bars that are compared")
    sample = open_home(console).mode is Mode.SANDBOX
    with transaction() as connection:
        found = rates(connection, chosen)
    data = {"sample": sample, "per": PER, "vendors": [asdict(each) for each in found]}
    console.result(data, lambda: show(console, found, sample=sample, markdown=markdown))
