"""`usage`: what every vendor allows and what is left of it.

Belongs here: the command. Does not belong here: collecting and printing the table (reports.usage).
"""

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console

app = new_app()


@command(app, "usage", example="financehub usage --json")
def usage(console: Console) -> None:
    """Show used and left of every vendor, key and window, which keys rest, and which vendors are off."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.reports.usage import collect, show

    home = prepare.act_on_home(console)
    used = prepare.is_set_up()
    if used:
        prepare.require_migrated()
    prepare.lead_to_vendors(home)
    found = collect(used=used)
    console.result(found, lambda: show(console, found))
