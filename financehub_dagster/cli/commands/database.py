"""`db upgrade` and `db url`: the market database by itself.

Belongs here: these commands' options and messages. Does not belong here: migrations.
"""

from typing import Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    group = new_app("The market database: migrate it, or print its address.")
    command(group, "upgrade", example="financehub db upgrade")(upgrade)
    command(group, "url", example="financehub db url --dagster")(url)
    app.add_typer(group, name="db")


def upgrade(console: Console) -> None:
    """Create the database if it is missing and migrate it to what this program needs."""
    from financehub_dagster.cli import prepare

    prepare.act_on_home(console)
    before, after = prepare.migrate()
    changed = before != after
    console.result(
        {"before": before, "after": after, "changed": changed},
        lambda: console.say(f"migrated from {before or 'nothing'} to {after}" if changed else f"already at {after}"),
    )


def url(
    console: Console,
    dagster: Annotated[bool, typer.Option("--dagster", help="The address of Dagster's own storage.")] = False,
    show_password: Annotated[bool, typer.Option("--show-password", help="Print the password too.")] = False,
) -> None:
    """Print the address of the market database, for psql and other tools; starts an embedded server."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.storage.urls import beside, market_url

    prepare.act_on_home(console)
    market = market_url()
    address = (beside(market) if dagster else market).set(drivername="postgresql")
    text = address.render_as_string(hide_password=not show_password)
    console.result({"url": text}, lambda: console.say(text))
