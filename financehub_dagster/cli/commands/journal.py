"""`journal`: the week of every account.

Belongs here: the command's options and messages. Does not belong here: its work (serving.journal).
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError, WrongUsage

if TYPE_CHECKING:
    from financehub_dagster.market.journal.week import Week


class Format(StrEnum):
    """What is printed."""

    MARKDOWN = "md"
    HTML = "html"


app = new_app()


@command(app, "journal", example="financehub journal --account main --week 2026-W48")
def journal(
    console: Console,
    account: Annotated[str | None, typer.Option(help="Only this account.", metavar="ACCOUNT")] = None,
    week: Annotated[
        str | None, typer.Option(help="An ISO week, which ends on its Friday; the last complete one.", metavar="WEEK")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="What is printed: Markdown without charts, or HTML.")
    ] = Format.MARKDOWN,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="As prices and signals were known then; no file.", metavar="TIME")
    ] = None,
) -> None:
    """Write the week of each account as Markdown and HTML under the home, and print it: positions, gains, signals."""
    chosen = _week(week, datetime.now(UTC))
    open_home(console)
    from financehub_dagster.cli.reports import journal as report
    from financehub_dagster.serving.journal.reading import journals
    from financehub_dagster.serving.journal.writing import on_terminal, write
    from financehub_dagster.serving.questions import known_at

    at = None if as_of is None else known_at(as_of)
    found = journals(chosen, only=None if account is None else [account], as_of=at)
    if not found:
        raise CommandError("nothing is held: store it with `financehub holdings import` first")
    if form is Format.HTML and len(found) > 1 and not console.as_json:
        names = ", ".join(each.account.name for each in found)
        raise WrongUsage(f"--format html prints one account: add --account, one of {names}")
    try:
        written = [write(each) for each in found]
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from None
    for each in written:
        if not console.as_json:
            text = each.texts["html"] if form is Format.HTML else on_terminal(each.journal)
            console.say(text.rstrip("\n"))
        for path in each.paths.values():
            console.note(f"written: {path}")
    console.result({"journals": [report.as_dict(each) for each in written]})


def _week(text: str | None, now: datetime) -> "Week":
    from financehub_dagster.market.journal.week import WeekError, last_complete, named

    if text is None:
        return last_complete(now)
    try:
        week = named(text)
    except WeekError as error:
        raise WrongUsage(f"--week: {error}") from None
    if week.start > now.date():
        raise WrongUsage(f"--week {week} lies in the future: it begins on {week.start}")
    return week
