"""`instruments list|add|remove|import`: editing the universe.

Belongs here: these commands' options and messages. Does not belong here: what a field may hold (market) or storing it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.errors import WrongUsage
from financehub_dagster.market.instruments import AssetType, FieldError, instrument_from_text, parse_instruments

if TYPE_CHECKING:
    from financehub_dagster.market.instruments import Instrument

COLUMNS = ("symbol", "name", "asset_type", "exchange", "currency", "timezone", "is_active", "market_cap")


def register(app: typer.Typer) -> None:
    """Add the commands to the tree."""
    group = new_app("The universe: which instruments are fetched, computed and reported.")
    command(group, "list")(list_)
    command(group, "add")(add)
    command(group, "remove")(remove)
    command(group, "import")(import_)
    app.add_typer(group, name="instruments")


def list_(
    console: Console,
    kind: Annotated[list[AssetType] | None, typer.Option("--type", help="Only this kind; may be repeated.")] = None,
    removed: Annotated[bool, typer.Option("--all", help="Also those that were removed.")] = False,
) -> None:
    """List the instruments, most important first."""
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.instruments import list_instruments

    _open(console)
    with transaction() as connection:
        found = list_instruments(connection, asset_types=kind, active=None if removed else True)
    rows = [[_cell(getattr(instrument, column)) for column in COLUMNS] for instrument in found]
    console.result(
        {"instruments": [asdict(instrument) for instrument in found]},
        lambda: console.table(f"{len(rows)} instruments", COLUMNS, rows),
    )


def add(
    console: Console,
    symbol: Annotated[str, typer.Argument(help="A symbol of your choice.", metavar="SYMBOL")],
    kind: Annotated[AssetType, typer.Option("--type", help="What it is.")],
    exchange: Annotated[str, typer.Option(help="ISO 10383 MIC of its market; XXXX for cryptos and currencies.")] = "",
    name: Annotated[str, typer.Option(help="Its name; the symbol when not given.")] = "",
    currency: Annotated[str, typer.Option(help="ISO 4217 code; the exchange's when not given.")] = "",
    timezone: Annotated[str, typer.Option(help="IANA name; the exchange's when not given.")] = "",
    market_cap: Annotated[str, typer.Option(help="In units of currency; the largest are fetched first.")] = "",
    alias: Annotated[
        list[str] | None, typer.Option(help="provider=symbol, where a vendor calls it otherwise; may be repeated.")
    ] = None,
) -> None:
    """Add an instrument, or change the one of that symbol."""
    no_market = kind in (AssetType.CRYPTO, AssetType.FX)
    fields = {
        "symbol": symbol.strip().upper(),
        "name": name or symbol,
        "asset_type": str(kind),
        "exchange": exchange or ("XXXX" if no_market else ""),
        "currency": currency,
        "timezone": timezone,
        "market_cap": market_cap,
        "aliases": ";".join(alias or []),
    }
    try:
        instrument = instrument_from_text(fields)
    except FieldError as error:
        raise WrongUsage(str(error)) from None
    _open(console)
    _store(console, [instrument])


def import_(
    console: Console,
    file: Annotated[Path, typer.Argument(help="A .csv, .yaml or .yml file.", metavar="FILE")],
) -> None:
    """Add or change all instruments of a file; one mistake in it and nothing is changed."""
    instruments = parse_instruments(file)
    _open(console)
    _store(console, instruments)


def remove(
    console: Console,
    symbols: Annotated[list[str], typer.Argument(help="Which ones.", metavar="SYMBOL...")],
) -> None:
    """Take instruments out of the universe; what is stored of them stays."""
    from financehub_dagster.cli import arguments
    from financehub_dagster.cli.runs import universe
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.instruments import deactivate_instruments

    _open(console)
    wanted = arguments.known_symbols(arguments.split_symbols(symbols) or [], universe())
    with transaction() as connection:
        deactivate_instruments(connection, wanted)
    console.result(
        {"removed": wanted},
        lambda: console.say(
            f"removed {', '.join(wanted)}: not fetched any more, stored rows stay; `add` brings them back"
        ),
    )


def _store(console: Console, instruments: "list[Instrument]") -> None:
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.instruments import upsert_instruments

    with transaction() as connection:
        counts = upsert_instruments(connection, instruments)
    data = {"inserted": counts.inserted, "updated": counts.updated, "unchanged": counts.unchanged}
    console.result(data, lambda: console.say(", ".join(f"{count} {what}" for what, count in data.items())))


def _cell(value: Cell) -> Cell:
    """Market capitalisations without a decimal place."""
    return int(value) if isinstance(value, float) else value


def _open(console: Console) -> None:
    from financehub_dagster.cli import prepare

    prepare.act_on_home(console)
    prepare.require_migrated()
