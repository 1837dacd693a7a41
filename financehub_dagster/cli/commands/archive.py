"""`archive list` and `archive restore`: months of intraday bars that have left the database.

Belongs here: these commands' options and messages. Does not belong here: their work (storage.archive). Months are
archived by the job cleanup_old_data.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from financehub_dagster.cli import arguments
from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.storage.archive.files import ArchivedMonth

app = new_app("Months of intraday bars in Parquet files, which have left the database.")


@command(app, "list", example="financehub archive list")
def list_(console: Console) -> None:
    """List the archived months: rows, size, file, and whether the month is in the database again."""
    from financehub_dagster.storage.archive import files, partitions
    from financehub_dagster.storage.database.engine import transaction

    open_home(console)
    found: list[dict[str, Any]] = []
    with transaction() as connection:
        for table in partitions.table_names():
            restored = {each.first_day: each.restored_at for each in partitions.months(connection, table)}
            found += [
                _facts(files.describe(table, month)) | {"restored_at": restored.get(month)}
                for month in files.months(table)
            ]
    console.result({"months": found}, lambda: _show(console, found))


@command(app, "restore", example="financehub archive restore ohlc_1m 2026-08")
def restore(
    console: Console,
    table: Annotated[str, typer.Argument(help="Which table.", metavar="TABLE", autocompletion=arguments.tables_like)],
    month: Annotated[str, typer.Argument(help="Which month.", metavar="YYYY-MM")],
) -> None:
    """Bring a month back into the database; it stays there as long as a new one would, and its file stays too."""
    from financehub_dagster.storage.archive import moving, partitions

    first_day = arguments.month("YYYY-MM", month)
    name = arguments.table(table, partitions.table_names(), "is not archived by months")
    open_home(console)
    done = moving.restore_month(name, first_day)
    console.result(_facts(done), lambda: console.say(f"{name} {first_day:%Y-%m}: {counted(done.rows, 'row')} restored"))


def _facts(month: "ArchivedMonth") -> dict[str, Any]:
    return {
        "table": month.table,
        "month": f"{month.month:%Y-%m}",
        "rows": month.rows,
        "bytes": month.bytes,
        "written_at": month.written_at,
        "file": month.path,
    }


def _show(console: Console, found: list[dict[str, Any]]) -> None:
    if not found:
        console.say("nothing is archived")
        return
    rows: list[list[Cell]] = [
        [
            each["table"],
            each["month"],
            each["rows"],
            f"{each['bytes'] / 1e6:,.1f}",
            f"{each['bytes'] / max(each['rows'], 1):.1f}",
            "" if each["restored_at"] is None else f"{each['restored_at']:%Y-%m-%d}",
            str(each["file"]),
        ]
        for each in found
    ]
    console.table("", ["table", "month", "rows", "MB", "bytes per row", "restored", "file"], rows)
