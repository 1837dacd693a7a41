"""`holdings`: what is held in which account, lot by lot."""

from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import number, positive
from financehub_dagster.tables.declaration import Column, Maintained, Table

TABLE = Table(
    name="holdings",
    comment="What is held in which account: one row per lot.",
    columns=(
        Column("account", "text", "a name of your choice", key=True),
        Column("symbol", "text", "the instrument", key=True),
        Column("opened_on", "date", "the day of the trade", key=True),
        number("quantity", "units traded on that day, negative for a short position"),
        positive("cost", "paid for one unit on that day, in the instrument's currency"),
    ),
    grain="none",
    filled=Maintained(after=("instruments",)),
    group="portfolio",
    source=("csv",),
    details="`financehub holdings import` replaces all lots of the accounts in a file. Quantity and cost are as of the"
    " day of the trade: splits since then are applied when holdings are read.",
    checks=defaults.CHECKS,
)
