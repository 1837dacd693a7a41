"""`backup create`, `backup show` and `backup restore`: both databases in one file.

Belongs here: these commands' options and messages. Does not belong here: their work (storage.backup).
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.storage.backup.file import Description

File = Annotated[str, typer.Argument(help="A file that `backup create` wrote.", metavar="FILE")]

app = new_app("Backups of the market database and of Dagster's storage, in one file each.")


@command(app, "create", example="financehub backup create --output friday.backup")
def create(
    console: Console,
    output: Annotated[
        str | None, typer.Option("--output", help="The file; else one named after the time, here.", metavar="FILE")
    ] = None,
) -> None:
    """Write both databases to one file, each as it is at one moment; the platform may run meanwhile."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.storage.backup.create import HomeFacts
    from financehub_dagster.storage.backup.create import create as work
    from financehub_dagster.storage.database.urls import market_url

    home = prepare.act_on_home(console)
    path = Path(output or f"financehub-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.backup").expanduser().absolute()
    facts = HomeFacts(str(home.mode), _first_day())
    with console.progress("backup") as report:
        done = work(market_url(), path, facts, report)
    size = path.stat().st_size
    console.result(
        {"file": path, "bytes": size, **_facts(done)},
        lambda: console.say(f"{counted(done.total_rows, 'row')}, {size:,} bytes: {path}"),
    )


@command(app, "show", example="financehub backup show friday.backup")
def show(console: Console, file: File) -> None:
    """Show what a backup is of, after reading all of it against its checksums."""
    from financehub_dagster.storage.backup.file import verify

    path = Path(file).expanduser().absolute()
    found = verify(path)
    console.result({"file": path, "bytes": path.stat().st_size, **_facts(found)}, lambda: _show(console, path, found))


@command(app, "restore", example="financehub backup restore friday.backup --replace")
def restore(
    console: Console,
    file: File,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop the tables that the databases hold, and all their rows.")
    ] = False,
) -> None:
    """Restore a backup into this platform's databases, on any server, and migrate it to this program's version."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.home import Mode
    from financehub_dagster.cli.supervisor.state import sole_supervisor
    from financehub_dagster.cli.supervisor.stopping import end_left_behind
    from financehub_dagster.storage.backup.file import reading
    from financehub_dagster.storage.backup.restore import restore as work
    from financehub_dagster.storage.database.urls import market_url

    path = Path(file).expanduser().absolute()
    with reading(path) as (_, description):
        home = prepare.act_on_home(console, new=Mode(description.mode))
    with sole_supervisor(home), console.progress("restore") as report:
        end_left_behind(home, console)
        done = work(market_url(), path, str(home.mode), replace=replace, report=report)
        _set_first_day(console, done.description)
    before = done.description
    console.result(
        {**_facts(before), "revision": done.revision, "revision_of_backup": before.revision},
        lambda: console.say(
            f"restored {counted(before.total_rows, 'row')} as of {before.created}; "
            f"the database is at revision {done.revision}"
        ),
    )


def _first_day() -> str | None:
    from financehub_dagster.settings import get_settings

    day = get_settings().first_day
    return None if day is None else day.isoformat()


def _set_first_day(console: Console, description: "Description") -> None:
    """Let partitions begin where the backup's do: those of rows before that day could not be shown."""
    from financehub_dagster.settings import get_settings
    from financehub_dagster.storage import whole_files

    settings = get_settings()
    if description.first_day is None or description.first_day == _first_day():
        return
    if settings.financehub_first_day is not None:
        first = date.fromisoformat(description.first_day)
        if first < settings.financehub_first_day:
            console.warn(f"FINANCEHUB_FIRST_DAY is later than the backup's first day: set it to {first}")
        return
    try:
        whole_files.replace(settings.first_day_file, f"{description.first_day}\n")
    except OSError as error:
        raise CommandError(
            f"the databases are restored, but {settings.first_day_file}: {error.strerror}; write "
            f"{description.first_day} into it"
        ) from None


def _facts(description: "Description") -> dict[str, Any]:
    return {
        "created": description.created,
        "program": description.program,
        "revision": description.revision,
        "postgresql": description.server,
        "mode": description.mode,
        "first_day": description.first_day,
        "rows": {part: dict(tables) for part, tables in description.rows.items()},
    }


def _show(console: Console, path: Path, found: "Description") -> None:
    console.say(
        f"{path}: complete; made {found.created} by financehub {found.program} at revision {found.revision}, "
        f"PostgreSQL {found.server}, {found.mode} data"
    )
    rows: list[list[Cell]] = [
        [part, name, count] for part, tables in found.rows.items() for name, count in tables.items()
    ]
    console.table("", ["database", "table", "rows"], rows)
