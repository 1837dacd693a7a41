"""`holdings import|list`: what is held in which account.

Belongs here: these commands' options and messages. Does not belong here: files (market.holdings), storing.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.errors import WrongUsage
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.storage.queries.holdings import Position

COLUMNS = ("account", "symbol", "opened_on", "quantity", "cost", "close", "value", "profit", "currency")

app = new_app("What is held: it decides what is fetched first, and how large positions are.")


@command(app, "import", example="financehub holdings import my-holdings.csv")
def import_(
    console: Console,
    file: Annotated[
        Path, typer.Argument(help="A CSV file with account,symbol,quantity,cost,opened_on.", metavar="FILE")
    ],
) -> None:
    """Replace all that the accounts in a file hold; one mistake in it and nothing is changed."""
    from financehub_dagster.market.holdings import parse
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.queries.holdings import replace_lots

    lots = parse(file)
    open_home(console)
    replaced = in_transaction(lambda connection: replace_lots(connection, lots))
    accounts = sorted({lot.account for lot in lots})
    data = {"accounts": accounts, "lots": len(lots), "replaced": replaced}
    stored = f"{counted(len(lots), 'lot')} in {', '.join(accounts)}; {replaced} replaced"
    console.result(data, lambda: console.say(stored))


@command(app, "list", example="financehub holdings list --account main")
def list_(
    console: Console,
    account: Annotated[str | None, typer.Option(help="Only this account.", metavar="ACCOUNT")] = None,
) -> None:
    """List all lots, splits applied, at the last stored closes."""
    from financehub_dagster.serving.errors import unknown
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.holdings import positions

    open_home(console)
    with transaction() as connection:
        everything = positions(connection)
    accounts = sorted({each.account for each in everything})
    if account is not None and account not in accounts:
        raise WrongUsage(str(unknown("account", account, accounts, "nothing is held: `financehub holdings import`")))
    found = [each for each in everything if account is None or each.account == account]
    rows = [_row(each) for each in found]
    console.result(
        {"holdings": [{**asdict(each), "value": each.value, "profit": each.profit} for each in found]},
        lambda: console.table(counted(len(rows), "lot"), COLUMNS, rows),
    )


def _row(position: "Position") -> list[Cell]:
    """Quantities in full: a tenth of a crypto matters."""
    cells: list[Cell] = [getattr(position, column) for column in COLUMNS]
    cells[COLUMNS.index("quantity")] = f"{position.quantity:,.10g}"
    return cells
