"""`db upgrade`, `db url` and `db shell`: the market database by itself.

Belongs here: these commands' options and messages. Does not belong here: migrations.
"""

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Mode

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

Dagster = Annotated[bool, typer.Option("--dagster", help="Dagster's own storage instead of the market data.")]

app = new_app("The market database: migrate it, open it with psql, or print its address.")


@command(app, "upgrade", example="financehub db upgrade")
def upgrade(console: Console) -> None:
    """Create both databases if they are missing, and migrate the market's to what this program needs."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage

    prepare.act_on_home(console, new=Mode.LIVE)
    before, after = prepare.migrate()
    dagsters = FinanceHubDagsterStorage.from_config_value(None, {})  # opening it creates the tables that are missing
    dagsters.event_log_storage.dispose()
    changed = before != after
    console.result(
        {"before": before, "after": after, "changed": changed},
        lambda: console.say(f"migrated from {before or 'nothing'} to {after}" if changed else f"already at {after}"),
    )


@command(app, "url", example="financehub db url --dagster")
def url(
    console: Console,
    dagster: Dagster = False,
    show_password: Annotated[bool, typer.Option("--show-password", help="Print the password too.")] = False,
) -> None:
    """Print the address of the market database, for psql and other tools. `db shell` opens it."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.storage.database import embedded
    from financehub_dagster.storage.database.urls import is_embedded, libpq_url

    home = prepare.act_on_home(console)
    text = libpq_url(_address(dagster=dagster), with_secrets=show_password)
    console.result({"url": text}, lambda: console.say(text))
    if is_embedded() and embedded.status(home.path).holders == (os.getpid(),):
        console.warn("nothing else uses this database, so its server stops now: `financehub db shell` opens it")


@command(app, "shell", example="financehub db shell -- -c 'select count(*) from instruments'")
def shell(
    console: Console,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed on to psql: `-- -c 'select 1'`.", metavar="[-- PSQL...]")
    ] = None,
    dagster: Dagster = False,
) -> None:
    """Open the market database with psql. An embedded server runs at least until psql ends."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.storage.database.creation import autocommit
    from financehub_dagster.storage.database.urls import libpq_url, secrets_of

    prepare.act_on_home(console)
    address = _address(dagster=dagster)
    with autocommit(address, any_encoding=True):
        secrets = secrets_of(address)
    environment = os.environ | ({"PGPASSWORD": secrets["password"]} if "password" in secrets else {})
    # psql cancels its query on Ctrl-C, and this process goes on waiting for it.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.run(
            [_psql(), libpq_url(address), *(arguments or [])], env=environment, check=False
        ).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    raise typer.Exit(code)


def _address(*, dagster: bool) -> "URL":
    from financehub_dagster.storage.database.urls import dagster_database, market_url

    return dagster_database() if dagster else market_url()


def _psql() -> str:
    """The embedded server's own psql for that server; for another one the PATH's, which may speak TLS."""
    from financehub_dagster.storage.database.embedded.binaries import bin_folder
    from financehub_dagster.storage.database.errors import UnsupportedPlatform
    from financehub_dagster.storage.database.urls import is_embedded

    try:
        ours = shutil.which("psql", path=bin_folder())
    except UnsupportedPlatform:
        ours = None
    found = (ours or shutil.which("psql")) if is_embedded() else (shutil.which("psql") or ours)
    if found is None:
        raise CommandError("there is no psql: install PostgreSQL's client programs, or open `financehub db url`")
    return found
