"""What is used and left of every vendor's plan, for `financehub usage`.

Belongs here: the table and the lines below it. Does not belong here: joining plans with what is used
(providers.budgets).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.prepare import off_line

if TYPE_CHECKING:
    from financehub_dagster.providers.budgets import AccountBudget

ADDRESS = "ip"
"""What stands for a key where the vendor counts the address."""


@dataclass(frozen=True)
class UsageSummary:
    """windows: used and left of every window of every account; off: vendors without a key, each with its variable."""

    windows: "Sequence[AccountBudget]"
    off: Mapping[str, str]


def collect(*, used: bool = True) -> UsageSummary:
    """Read the books under the plans that the code location has configured; asks no vendor.

    Without `used`, as before the database is set up, there are only the plans.
    """
    from financehub_dagster.cli.runs import code_location
    from financehub_dagster.providers.budgets import budgets
    from financehub_dagster.storage.database.engine import market_engine
    from financehub_dagster.storage.rate_limits.usage import usage_report

    found = budgets(code_location().resources or {}, usage_report(market_engine()) if used else [])
    return UsageSummary(found.windows, found.off)


def show(console: Console, summary: UsageSummary) -> None:
    """Print the table, what rests, and how to turn on what is off."""
    columns = ["vendor", "account", "window", "used", "of", "left", "free again (UTC)", "calls today"]
    console.table("", columns, _rows(summary.windows))
    places = sorted({window.place.removeprefix("@") for window in summary.windows if window.place})
    if places:
        console.say(f"* base URL override {', '.join(places)}, not the vendor itself")
    for window in _one_per_account(summary.windows):
        if window.benched_until is not None:
            console.say(f"{window.provider} {_account(window)} rests until {_instant(window)} UTC: {window.reason}")
    if summary.off:
        console.say(off_line(summary.off))


def _rows(windows: "Sequence[AccountBudget]") -> Iterator[list[Cell]]:
    """Vendor, account and calls stand in an account's first row only."""
    first = {id(window) for window in _one_per_account(windows)}
    for window in windows:
        amounts: list[Cell] = [window.used, window.amount, window.left, _minute(window.resets_at)]
        name = window.window.replace("_", " ")
        if id(window) in first:
            yield [window.provider, _account(window), name, *amounts, window.calls]
        else:
            yield ["", "", name, *amounts, ""]


def _one_per_account(windows: "Sequence[AccountBudget]") -> "list[AccountBudget]":
    accounts = {(window.provider, window.key, window.place): window for window in reversed(windows)}
    return list(reversed(accounts.values()))


def _account(window: "AccountBudget") -> str:
    return (window.key or ADDRESS) + ("*" if window.place else "")


def _instant(window: "AccountBudget") -> str:
    return "" if window.benched_until is None else f"{window.benched_until.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
