"""`instruments list|add|remove|delist|rename|import|exchanges`: editing the universe.

Belongs here: these commands' options and messages. Does not belong here: what a field may hold (market) or storing it.
"""

from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli import arguments
from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.errors import CommandError, WrongUsage
from financehub_dagster.market.exchanges import NO_MARKET, exchanges
from financehub_dagster.market.instruments import AssetType, FieldError, instrument_from_text
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.market.instruments import Instrument
    from financehub_dagster.storage.identity.delisting import Delisting

COLUMNS = ("symbol", "name", "asset_type", "exchange", "currency")
BILLION = 1e9

app = new_app("The universe: which instruments are fetched, computed and reported.")


@command(app, "list", example="financehub instruments list --type crypto")
def list_(
    console: Console,
    kind: Annotated[list[AssetType] | None, typer.Option("--type", help="Only this kind; may be repeated.")] = None,
    removed: Annotated[bool, typer.Option("--all", help="Also those that were removed.")] = False,
) -> None:
    """List the instruments, most important first."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    open_home(console)
    with transaction() as connection:
        found = list_instruments(connection, asset_types=kind, active=None if removed else True)
    ended = any(instrument.delisted_on for instrument in found)
    columns = [*COLUMNS, "market_cap (bn)", *(["active"] if removed else []), *(["delisted_on"] if ended else [])]
    rows = [_row(instrument, removed=removed, ended=ended) for instrument in found]
    console.result(
        {"instruments": found},
        lambda: console.table(counted(len(rows), "instrument"), columns, rows),
    )


@command(app, "add", example="financehub instruments add SAP --type stock --exchange XETR --alias yahoo=SAP.DE")
def add(
    console: Console,
    symbol: Annotated[str, typer.Argument(help="A symbol of your choice.", metavar="SYMBOL")],
    kind: Annotated[AssetType, typer.Option("--type", help="What it is.")],
    exchange: Annotated[
        str,
        typer.Option(
            help="MIC of its market, as `instruments exchanges` lists them; needed for stocks, ETFs and indices.",
            metavar="MIC",
            autocompletion=arguments.exchanges_like,
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="Its name; the symbol when not given.")] = "",
    currency: Annotated[str, typer.Option(help="ISO 4217 code; the exchange's when not given.")] = "",
    timezone: Annotated[str, typer.Option(help="IANA name; the exchange's when not given.")] = "",
    market_cap: Annotated[str, typer.Option(help="In units of currency; the largest are fetched first.")] = "",
    alias: Annotated[
        list[str] | None, typer.Option(help="provider=symbol, where a vendor calls it otherwise; may be repeated.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask a vendor for its last bars first; add nothing if it does not know it.")
    ] = False,
) -> None:
    """Add an instrument, or change the one of that symbol: what is not given stays as it is."""
    no_market = kind in (AssetType.CRYPTO, AssetType.FX)
    fields = {
        "symbol": symbol.strip().upper(),
        "name": name or symbol,
        "asset_type": str(kind),
        "exchange": NO_MARKET if no_market and not exchange else arguments.exchange(exchange, symbol),
        "currency": currency,
        "timezone": timezone,
        "market_cap": market_cap,
        "aliases": ";".join(alias or []),
    }
    try:
        instrument = instrument_from_text(fields)
    except FieldError as error:
        raise WrongUsage(str(error)) from None
    arguments.known_vendors([instrument])
    open_home(console)
    given = {"name": name, "currency": currency, "timezone": timezone, "market_cap": market_cap, "aliases": alias}
    instrument = _completed(instrument, {field for field, value in given.items() if value})
    if check:
        _introduce(console, instrument)
    _store(console, [instrument])


def _completed(instrument: "Instrument", given: Collection[str]) -> "Instrument":
    """`instrument` with the stored values of the fields that were not given.

    Of another kind, or on another exchange, it may have another currency, time zone and names at the vendors.
    """
    from financehub_dagster.cli.runs import universe

    stored = next((each for each in universe() if each.symbol == instrument.symbol), None)
    if stored is None:
        return instrument
    kept = {"name", "market_cap"}
    if (stored.asset_type, stored.exchange) == (instrument.asset_type, instrument.exchange):
        kept |= {"currency", "timezone", "aliases"}
    return replace(instrument, **{field: getattr(stored, field) for field in kept.difference(given)})


def _introduce(console: Console, instrument: "Instrument") -> None:
    """Say what a vendor has of an instrument, or that nobody could be asked; raises CommandError if it is not known."""
    from financehub_dagster.ingest.introduction import introduce

    found = introduce(instrument)
    if found.refused is not None:
        raise CommandError(f"{found.refused}; nothing was added")
    if found.unanswered is not None:
        console.warn(f"{instrument.symbol} was not checked: {found.unanswered}")
    else:
        price = f"{found.close:,.6g} {instrument.currency} on {found.newest}"
        console.note(f"{found.source} knows {instrument.symbol} as {found.symbol}: {price}")


@command(app, "remove", example="financehub instruments remove AAPL MSFT")
def remove(
    console: Console,
    symbols: Annotated[list[str], typer.Argument(help="Which ones.", metavar="SYMBOL...")],
) -> None:
    """Take instruments out of the universe; what is stored of them stays."""
    from financehub_dagster.cli.runs import universe
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.identity import delisting

    open_home(console)
    named = arguments.present(arguments.split_symbols(symbols) or [], console.note)
    wanted = arguments.known_symbols(named, universe())
    ended = in_transaction(lambda connection: delisting.remove(connection, wanted))
    work = f"; failed or deferred work was closed ({ended})" if ended else ""
    console.result(
        {"removed": wanted, "ended": ended},
        lambda: console.say(
            f"removed {', '.join(wanted)}: not fetched any more, stored rows stay; `add` brings them back{work}"
        ),
    )


@command(app, "delist", example="financehub instruments delist WBA --on 2025-08-27")
def delist(
    console: Console,
    symbol: Annotated[str, typer.Argument(help="Which one.", metavar="SYMBOL")],
    on: Annotated[str | None, typer.Option("--on", help="The last day it was traded.", metavar="YYYY-MM-DD")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It is listed after all: expect its sessions again.")] = False,
) -> None:
    """Expect nothing of an instrument after its last day; what is stored of it stays, and is still read."""
    from financehub_dagster.cli.runs import universe
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.identity import delisting

    if (on is None) != undo:
        raise WrongUsage("name the last day it was traded with --on, or take that back with --undo")
    last = None if on is None else arguments.day("--on", on)
    open_home(console)
    named = arguments.present([symbol.strip().upper()], console.note)
    [name] = arguments.known_symbols(named, universe())
    now = datetime.now(UTC)
    done = in_transaction(lambda connection: delisting.delist(connection, name, last, now))
    console.result(done, lambda: console.say(_delisted(done)))


def _delisted(done: "Delisting") -> str:
    if done.delisted_on is None:
        return f"{done.symbol} is listed: " + ("its sessions are expected again" if done.changed else "nothing changed")
    work = f"; failed or deferred work on later days was closed ({done.ended})" if done.ended else ""
    told = "no later session is expected" if done.changed else "that was known"
    return f"{done.symbol} was delisted on {done.delisted_on}: {told}{work}"


@command(app, "rename", example="financehub instruments rename FB META --on 2022-06-09")
def rename(
    console: Console,
    old: Annotated[str, typer.Argument(help="The symbol that it gives up.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="The symbol that it takes.", metavar="NEW")],
    on: Annotated[
        str | None, typer.Option("--on", help="The first day of the new symbol; today when not given.", metavar="DAY")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="provider=symbol, where a vendor calls it otherwise now; may be repeated.")
    ] = None,
) -> None:
    """Move everything that is stored of an instrument to its new symbol; the old one still finds it."""
    from financehub_dagster.cli.reports import renaming as report
    from financehub_dagster.cli.runs import universe
    from financehub_dagster.market.instruments import aliases_from_text, symbol_from_text
    from financehub_dagster.providers.former_names import names_to_keep
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.identity import renaming

    since = datetime.now(UTC).date() if on is None else arguments.day("--on", on)
    try:
        symbol = symbol_from_text(new.strip().upper())
        aliases, former = aliases_from_text(";".join(alias or []))
    except FieldError as error:
        raise WrongUsage(str(error)) from None
    if former:
        raise WrongUsage("--alias: name the present symbol; former ones are kept by themselves")
    arguments.require_vendors(aliases, "--alias")
    if symbol == old.strip().upper():
        raise WrongUsage(f"{symbol} is the symbol it has: name the new one")
    open_home(console)
    before = {each.symbol: each for each in universe()}
    name = old.strip().upper()
    if name not in before and symbol not in before:
        arguments.known_symbols([name], list(before.values()))
    ended = names_to_keep(before[name], aliases) if name in before else {}
    done = in_transaction(lambda connection: renaming.rename(connection, name, symbol, since, aliases, ended))
    console.result(report.as_dict(done), lambda: report.show(console, done))
    for vendor, text in report.left_alone(before.get(name), done, aliases):
        console.note(f"{vendor} is still asked for it as {text}: if it has another name there now, change its alias")


@command(app, "import", example="financehub instruments import my-universe.csv")
def import_(
    console: Console,
    file: Annotated[Path, typer.Argument(help="A .csv, .yaml or .yml file.", metavar="FILE")],
) -> None:
    """Add or change all instruments of a file; one mistake in it and nothing is changed."""
    from financehub_dagster.market.instrument_files import parse_instruments

    instruments = parse_instruments(file)
    arguments.known_vendors(instruments)
    open_home(console)
    _store(console, instruments)


@command(app, "exchanges", example="financehub instruments exchanges london")
def exchanges_(
    console: Console,
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Only those whose MIC, name, currency or time zone has these.", metavar="[WORD...]"),
    ] = None,
) -> None:
    """List the exchanges that instruments may be listed on, by MIC."""
    found = [
        exchange
        for exchange in exchanges().values()
        if all(word.lower() in " ".join(map(str, asdict(exchange).values())).lower() for word in words or ())
    ]
    rows = [[exchange.mic, exchange.name, exchange.currency, exchange.timezone] for exchange in found]
    console.result(
        {"exchanges": found},
        lambda: console.table(counted(len(rows), "exchange"), ["mic", "name", "currency", "timezone"], rows),
    )


def _store(console: Console, instruments: "list[Instrument]") -> None:
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.identity import delisting
    from financehub_dagster.storage.queries.instruments import upsert_instruments

    removed = [each.symbol for each in instruments if not each.is_active]
    counts, ended = in_transaction(
        lambda connection: (upsert_instruments(connection, instruments), delisting.close_work(connection, removed))
    )
    if ended:
        console.note(f"failed or deferred work of instruments that are not active was closed ({ended})")
    data = {"inserted": counts.inserted, "updated": counts.updated, "unchanged": counts.unchanged}
    console.result(data, lambda: console.say(", ".join(f"{count} {what}" for what, count in data.items())))


def _row(instrument: "Instrument", *, removed: bool, ended: bool) -> list[Cell]:
    """What the list shows; `--json` has every field."""
    cap = None if instrument.market_cap is None else instrument.market_cap / BILLION
    cells: list[Cell] = [*(getattr(instrument, column) for column in COLUMNS), cap]
    cells += [instrument.is_active] if removed else []
    return [*cells, instrument.delisted_on or ""] if ended else cells
