"""Months, tables and symbols as people type them, turned into what a run needs.

Belongs here: refusing what cannot be meant, before anything is touched. Does not belong here: running it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING

from financehub_dagster.cli.errors import WrongUsage
from financehub_dagster.serving.errors import meant

if TYPE_CHECKING:
    from financehub_dagster.market.instruments import AssetType, Instrument

OFTEN_MEANT = ("XNAS", "XNYS", "ARCX", "XLON", "XETR", "XPAR", "XAMS", "XSWX", "XTKS", "XHKG", "XTSE", "XASX")
"""The exchanges that a person is offered who names none."""
CLOSE = 8
"""Exchanges offered to a person who names part of one."""


def month(option: str, text: str) -> date:
    """The first day of the month of a YYYY-MM or YYYY-MM-DD; raises WrongUsage."""
    try:
        return date.fromisoformat(f"{text}-01" if len(text) == 7 else text).replace(day=1)
    except ValueError:
        raise WrongUsage(f"{option} {text}: not a month; write it as 2024-03 or 2024-03-15") from None


def day(option: str, text: str) -> date:
    """The day of a YYYY-MM-DD; raises WrongUsage."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUsage(f"{option} {text}: not a day; write it as 2024-03-15") from None


def months(first: str, last: str, start: date, today: date) -> tuple[date, date]:
    """The first days of the months from `--from` to `--to`; both must lie between `start` and `today`."""
    begin, end = month("--from", first), month("--to", last)
    if begin > end:
        raise WrongUsage(f"--from {first} lies after --to {last}: exchange them")
    if end > today.replace(day=1):
        raise WrongUsage(f"--to {last} lies in the future: the running month is {today:%Y-%m}")
    if begin < start.replace(day=1):
        raise WrongUsage(
            f"--from {first} lies before {start:%Y-%m}, where the history begins: FINANCEHUB_HISTORY_START sets that"
        )
    return begin, end


def require_begun(table: str, first: date, start: date) -> None:
    """Raise WrongUsage where `table` has no partition in the month `first` yet: it begins on `start`."""
    if first < start.replace(day=1):
        why = "as this platform did: vendors say only what is so now"
        raise WrongUsage(f"--from {first:%Y-%m}: {table} begins in {start:%Y-%m}, {why}")


def table(name: str, known: Iterable[str], unfit: str) -> str:
    """`name`, if it is one of the tables `known` to the command; raises WrongUsage.

    unfit: what is said of any other table that there is, after its name.
    """
    from financehub_dagster.tables import TABLES

    names = sorted(known)
    if name in names:
        return name
    if name in TABLES:
        raise WrongUsage(f"{name} {unfit}")
    raise WrongUsage(f"unknown table {name}: {meant(name, names, '`financehub tables` shows what there is')}")


def tables_like(typed: str) -> list[str]:
    """The tables whose names begin with `typed`, for completion in a shell."""
    from financehub_dagster.tables import TABLES

    return [name for name in TABLES if name.startswith(typed)]


def exchanges_like(typed: str) -> list[tuple[str, str]]:
    """The exchanges whose MICs begin with `typed` and their names, for completion in a shell."""
    from financehub_dagster.market.exchanges import exchanges

    return [(mic, exchange.name) for mic, exchange in exchanges().items() if mic.startswith(typed.upper())]


def exchange(text: str, symbol: str) -> str:
    """`text`, if it is the MIC of a known exchange; raises WrongUsage that names those which may be meant."""
    from financehub_dagster.market.exchanges import exchanges

    known = exchanges()
    mic = text.strip().upper()
    if mic in known:
        return mic
    words = mic.lower().split()
    named = [code for code, each in known.items() if words and all(word in each.name.lower() for word in words)]
    named.sort(key=lambda code: code not in OFTEN_MEANT)
    likely = named[:CLOSE] or get_close_matches(mic, list(known), n=3) or OFTEN_MEANT
    choice = ", ".join(f"{code} ({known[code].name})" for code in likely)
    problem = f"--exchange {text}: not a known MIC." if mic else f"--exchange is missing: where is {symbol} listed?"
    raise WrongUsage(f"{problem} Choose from {choice}; `financehub instruments exchanges` lists all {len(known)}")


def split_symbols(texts: Sequence[str] | None) -> list[str] | None:
    """Symbols from options that may be repeated or hold commas, upper case, each once; None when there are none."""
    if not texts:
        return None
    symbols = [symbol.strip().upper() for text in texts for symbol in text.split(",")]
    return list(dict.fromkeys(symbol for symbol in symbols if symbol)) or None


def instruments_for(
    tables: Sequence[str],
    symbols: Sequence[str] | None,
    universe: Sequence["Instrument"],
    takes: Mapping[str, Sequence["AssetType"]],
) -> list["Instrument"]:
    """The instruments a run over `tables` works on; raises WrongUsage for unknown symbols and those no table takes.

    `takes` maps a price table to its kinds; any other table takes them all. Without `symbols`: the active ones.
    """
    kinds = {kind for name in tables for kind in takes.get(name, [k for group in takes.values() for k in group])}
    if symbols is None:
        chosen = [instrument for instrument in universe if instrument.is_active and instrument.asset_type in kinds]
        if not chosen:
            raise WrongUsage("no active instrument for this table: `financehub instruments import` or `add` some first")
        return chosen
    known = {instrument.symbol: instrument for instrument in universe}
    for symbol in known_symbols(symbols, universe):
        if known[symbol].asset_type not in kinds:
            raise WrongUsage(f"{symbol} is of type {known[symbol].asset_type}, which {', '.join(tables)} does not take")
    return [known[symbol] for symbol in symbols]


def present(symbols: Sequence[str], note: Callable[[str], None]) -> list[str]:
    """`symbols`, each once; for one that an instrument gave up and none has now its present one, and `note` is told."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.given_up import present_symbols

    with transaction() as connection:
        return present_symbols(connection, symbols, note)


def known_symbols(symbols: Sequence[str], universe: Sequence["Instrument"]) -> Sequence[str]:
    """`symbols`, if instruments of these names exist; raises WrongUsage naming the first that does not."""
    known = [instrument.symbol for instrument in universe]
    for symbol in symbols:
        if symbol not in known:
            raise WrongUsage(f"unknown symbol {symbol}: {_meant_symbol(symbol, known)}")
    return symbols


def known_vendors(instruments: Iterable["Instrument"]) -> None:
    """Raise WrongUsage for an alias at a vendor that does not exist: nobody would ever be asked by that name."""
    from financehub_dagster.market.former_aliases import OWN

    for instrument in instruments:
        named = {*instrument.aliases, *(each.provider for each in instrument.former_aliases)} - {OWN}
        require_vendors(named, f"{instrument.symbol}: aliases")


def require_vendors(names: Iterable[str], where: str) -> None:
    """Raise WrongUsage, which begins with `where`, for the first of `names` that is no vendor of the platform."""
    for name in sorted(names):
        from financehub_dagster.providers import all_providers  # Dagster comes with it: most instruments have no alias

        vendors = sorted(all_providers())
        if name not in vendors:
            raise WrongUsage(
                f"{where}: unknown vendor {name}: {meant(name, vendors, f'there are {", ".join(vendors)}')}"
            )


def _meant_symbol(text: str, known: Sequence[str]) -> str:
    if not known:
        return "there are no instruments yet: `financehub instruments import` or `add` some first"
    return meant(text, known, "`financehub instruments list --all` shows what there is")
