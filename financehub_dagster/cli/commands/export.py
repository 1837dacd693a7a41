"""`export`: a table as Parquet, CSV or Arrow, and daily bars for backtesting engines.

Belongs here: the command's options and messages. Does not belong here: its work (serving.export).
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.arguments import exchange, exchanges_like, present, split_symbols, tables_like
from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import WrongUsage
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.serving.export import Exported


class Format(StrEnum):
    """The formats of files."""

    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"
    ZIPLINE = "zipline"
    QLIB = "qlib"
    LEAN = "lean"
    NAUTILUS = "nautilus"


class Adjust(StrEnum):
    """The price bases."""

    SPLIT = "split"
    ADJUSTED = "adjusted"
    RAW = "raw"


app = new_app()


@command(app, "export", example="financehub export stock_prices_daily --symbols AAPL,MSFT --format csv")
def export(
    console: Console,
    table: Annotated[str, typer.Argument(help="Which table.", metavar="TABLE", autocompletion=tables_like)],
    symbols: Annotated[
        list[str] | None, typer.Option("--symbols", help="Only these, separated by commas.", metavar="A,B")
    ] = None,
    exchanges: Annotated[
        list[str] | None,
        typer.Option(
            "--exchange",
            help="Only instruments of this exchange; may be repeated.",
            metavar="MIC",
            autocompletion=exchanges_like,
        ),
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day.", metavar="YYYY-MM-DD")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day, included.", metavar="YYYY-MM-DD")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--columns", help="Only these besides the key.", metavar="A,B")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="As the table was known at this time, or a vintage.", metavar="TIME")
    ] = None,
    adjust: Annotated[Adjust, typer.Option("--adjust", help="On which basis prices are.")] = Adjust.SPLIT,
    repaired: Annotated[
        bool, typer.Option("--repaired", help="Daily bars with the repairs that have one right answer.")
    ] = False,
    form: Annotated[Format | None, typer.Option("--format", help="The files' format; else parquet.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="A folder of parts, or one file.", metavar="PATH")
    ] = None,
) -> None:
    """Write a table to files; after an interruption the same command goes on with the next part."""
    open_home(console)
    from financehub_dagster.serving import export as work
    from financehub_dagster.serving import file_formats
    from financehub_dagster.serving.questions import ask

    target = Path(output or table)
    chosen = form or _format_of(target, file_formats.SUFFIXES)
    if symbols is not None:
        symbols = present(split_symbols(symbols) or (), console.note)
    question = ask(
        table,
        symbols=symbols if exchanges is None else symbols_at(exchanges, symbols),
        start=first,
        end=last,
        columns=columns,
        as_of=as_of,
        adjust=adjust.value,
        repaired=repaired,
    )
    with console.progress(table) as report:
        done = work.export(question, target, chosen.value, report)
    facts = {"table": table, "format": chosen.value, **_facts(done)}
    console.result(facts, lambda: console.say(f"{counted(done.rows, 'row')}, {done.bytes:,} bytes: {done.output}"))


def symbols_at(mics: Sequence[str], symbols: Sequence[str] | None) -> list[str]:
    """The symbols of the instruments at these exchanges, removed ones included; of `symbols` alone where given.

    Raises WrongUsage for an exchange that does not exist, and where no instrument is left.
    """
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    wanted = {exchange(mic, "the instrument") for mic in mics}
    with transaction() as connection:
        found = list_instruments(connection, symbols=split_symbols(symbols), active=None)
    chosen = sorted(each.symbol for each in found if each.exchange in wanted)
    if not chosen:
        raise WrongUsage(f"no such instrument at {', '.join(sorted(wanted))}: `financehub instruments list` shows them")
    return chosen


def _facts(done: "Exported") -> dict[str, object]:
    facts: dict[str, object] = {**vars(done), "files": dict(done.files), "resumed_parts": done.resumed}
    del facts["resumed"]
    return facts


def _format_of(output: Path, suffixes: dict[str, str]) -> Format:
    """The format that a file's name ends like; Parquet otherwise."""
    named = {suffix: name for name, suffix in suffixes.items()}
    return Format(named.get(output.suffix, Format.PARQUET))
