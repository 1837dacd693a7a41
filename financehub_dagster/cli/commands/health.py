"""`health` and `usage`: whether the platform works, and what is left of every vendor's budget.

Belongs here: the commands. Does not belong here: the checks (operations.health), the table of budgets (reports.usage).
"""

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console

app = new_app()


@command(app, "health", example="financehub health --json")
def health(console: Console) -> None:
    """Check database, daemon, code location, queue, vendors, disk and clock; exit 1 when the platform is unhealthy."""
    from financehub_dagster.cli.errors import FAILED
    from financehub_dagster.cli.home import enter, home_to_look_at, require_started
    from financehub_dagster.operations.health import check
    from financehub_dagster.settings import get_settings

    home = home_to_look_at()
    enter(home, require_started(home))
    get_settings.cache_clear()
    found = check()
    columns = ["component", "status", "detail"]
    rows = [[each.component, each.status, each.detail] for each in found.components]
    console.result(found.as_dict(), lambda: console.table(f"platform: {found.status}", columns, rows))
    if found.status == "failed":
        raise typer.Exit(FAILED)


@command(app, "usage", example="financehub usage --json")
def usage(console: Console) -> None:
    """Show used and left of every vendor, key and window, which keys rest, and which vendors are off."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.home import Mode
    from financehub_dagster.cli.reports.usage import collect, show

    home = prepare.act_on_home(console, new=Mode.LIVE)
    used = prepare.is_set_up()
    if used:
        prepare.require_migrated()
    prepare.lead_to_vendors(home)
    found = collect(used=used)
    console.result(found, lambda: show(console, found))
