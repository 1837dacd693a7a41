"""How a rename reads in a terminal.

Belongs here: words for people. Does not belong here: renaming (storage.identity).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Console
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.market.instruments import Instrument
    from financehub_dagster.storage.identity.renaming import Renaming


def as_dict(done: "Renaming") -> dict[str, object]:
    """For --json."""
    return {**asdict(done), "former_aliases": [each.as_json() for each in done.former_aliases]}


def show(console: Console, done: "Renaming") -> None:
    """Print what was moved."""
    if not done.changed:
        console.say(f"{done.old} is {done.symbol} since {done.since} already: nothing changed")
        return
    moved = f"{counted(sum(done.rows.values()), 'row')} in {counted(len(done.rows), 'table')} moved"
    console.say(f"{done.old} is {done.symbol} since {done.since}: {moved}; {done.old} still finds it")


def left_alone(before: "Instrument | None", done: "Renaming", aliases: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The vendors' names that hold the old symbol and were not given anew."""
    if before is None or not done.changed:
        return
    for vendor, text in before.aliases.items():
        if vendor not in aliases and done.old.lower() in text.lower():
            yield vendor, text
