"""How often each vendor's bars are wrong, for `financehub vendors`.

Belongs here: the table in the terminal, and what is said above it. Does not belong here: rates and their Markdown
(operations.vendor_errors), and measuring them (the job `reconcile_prices`).
"""

from collections.abc import Iterator, Sequence

from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.operations import vendor_errors
from financehub_dagster.operations.vendor_errors import PER, VendorRates

SAMPLE = "These are bars of the sample market: the numbers say nothing about the vendors themselves."
NOTHING = "nothing was compared yet: the job reconcile_prices compares some instruments every night"


def show(console: Console, found: Sequence[VendorRates], *, sample: bool, markdown: bool) -> None:
    """Print the rates; sample: they are of the sample market."""
    if sample:
        console.say(f"{SAMPLE}\n")
    if not found:
        console.say(NOTHING)
    elif markdown:
        console.say(f"{vendor_errors.as_markdown(found)}\n\n{vendor_errors.kinds_as_markdown()}")
    else:
        columns = ["vendor", "compared", "kind", "wrong", f"per {PER:,}", "not decided", "newest example"]
        console.table("", columns, _rows(found))


def _rows(found: Sequence[VendorRates]) -> Iterator[list[Cell]]:
    """Vendor and bars compared stand in a vendor's first row only."""
    for vendor in found:
        first: list[Cell] = [vendor.vendor, vendor.compared]
        for kind in vendor.kinds:
            yield [*first, kind.kind, kind.wrong, kind.rate, kind.undecided, vendor_errors.example_of(kind)]
            first = ["", ""]
        if not vendor.kinds:
            yield [*first, "none", 0, 0.0, 0, ""]
