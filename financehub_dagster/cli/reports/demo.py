"""The summary of a demo: what is in each table and who said it, what the checks say, what each vendor's plan has left.

Belongs here: collecting and printing it. Does not belong here: SQL.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Cell, Console

if TYPE_CHECKING:
    from financehub_dagster.cli.reports.runs import RunResult
    from financehub_dagster.providers.budgets import AccountBudget


@dataclass(frozen=True)
class TableSummary:
    """One table: first and last are stored UTC days, partitions the materialized ones, sources rows by provider.

    seconds is what its steps took; None for a table that another table's step fills.
    """

    table: str
    rows: int
    instruments: int | None
    first: date | None
    last: date | None
    partitions: int
    sources: dict[str, int]
    seconds: float | None


@dataclass(frozen=True)
class VendorSummary:
    """One vendor: its calls today, and what is left of how much in each window of its plan that can be used up.

    The longest window comes last, as every provider lists them.
    """

    vendor: str
    calls: int
    left: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Summary:
    """A finished demo; seconds from its start to here.

    checks counts verdicts, not_passed names the checks that did not pass, calls counts the requests to each vendor.
    """

    home: str
    url: str | None
    run_ids: list[str]
    tables: list[TableSummary]
    checks: dict[str, int]
    not_passed: list[str]
    calls: dict[str, int]
    vendors: list[VendorSummary]
    failures: dict[str, str]
    seconds: float


def collect(home: str, url: str | None, tables: Sequence[str], runs: "Sequence[RunResult]", seconds: float) -> Summary:
    """Read the tables and count."""
    import dagster as dg

    from financehub_dagster.cli.reports.usage import collect as collect_usage

    with dg.DagsterInstance.get() as instance:
        partitions = {name: len(instance.get_materialized_partitions(dg.AssetKey(name))) for name in tables}
    checks = {name: verdict for run in runs for name, verdict in run.checks.items()}
    took: Counter[str] = Counter()
    for run in runs:
        took.update(run.seconds)
    vendors = list(_vendors(collect_usage().windows))
    return Summary(
        home=home,
        url=url,
        run_ids=[run.run_id for run in runs],
        tables=[_table(name, partitions[name], took.get(name)) for name in tables],
        checks=dict(Counter(checks.values())),
        not_passed=[name for name, verdict in checks.items() if verdict != "passed"],
        calls={each.vendor: each.calls for each in vendors if each.calls},
        vendors=vendors,
        failures={symbol: reason for run in runs for symbol, reason in run.failures.items()},
        seconds=round(seconds, 1),
    )


def _table(name: str, partitions: int, seconds: float | None) -> TableSummary:
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.history import extent

    with transaction() as connection:
        held = extent(connection, name)
    took = None if seconds is None else round(seconds, 1)
    return TableSummary(name, held.rows, held.symbols, held.first, held.last, partitions, held.sources, took)


def _vendors(windows: "Sequence[AccountBudget]") -> Iterator[VendorSummary]:
    """Each vendor once, its accounts added up."""
    for vendor in dict.fromkeys(window.provider for window in windows):
        own = [window for window in windows if window.provider == vendor]
        calls = {(window.key, window.place): window.calls for window in own}
        left: dict[str, tuple[int, int]] = {}
        for window in own:
            if window.left is not None and window.amount is not None and window.configured:
                before = left.get(window.window, (0, 0))
                left[window.window] = (before[0] + window.left, before[1] + window.amount)
        yield VendorSummary(vendor, sum(calls.values()), left)


def show(console: Console, summary: Summary) -> None:
    """Print the summary and what to do next."""
    columns = ["table", "rows", "symbols", "first", "last", "parts", "seconds"]
    rows = [[t.table, t.rows, t.instruments, t.first, t.last, t.partitions, t.seconds] for t in summary.tables]
    console.table("Sample market: recorded stocks 2013-2018, Bitcoin 2009-2026; the rest is generated", columns, rows)
    names = f" ({', '.join(summary.not_passed)})" if summary.not_passed else ""
    console.say(f"checks: {_counts(summary.checks) or 'none ran'}{names}")
    console.say("")
    columns = ["vendor", "calls", "left of its plan", "rows it answered"]
    console.table("All vendors are the sandbox, under their real limits", columns, _vendor_rows(summary))
    for symbol, reason in summary.failures.items():
        console.warn(f"{symbol} failed: {reason}")
    console.say(f"done in {summary.seconds:.0f} s")


def _vendor_rows(summary: Summary) -> Iterator[list[Cell]]:
    for each in summary.vendors:
        longest = list(each.left.items())[-1:]
        left = [f"{left:,} of {amount:,} per {window}" for window, (left, amount) in longest]
        answered = {table.table: table.sources.get(each.vendor, 0) for table in summary.tables}
        rows = _counts({table: count for table, count in answered.items() if count})
        yield [each.vendor, each.calls, *(left or ["calls are paced"]), rows]


def show_next_steps(console: Console, url: str | None) -> None:
    """Print where to look."""
    if url is None:
        console.say("everything is stopped again; `financehub up --sandbox` opens it in the browser")
        return
    console.say(f"open {url}/asset-groups for the lineage, {url}/assets/stock_prices_daily for partitions and a chart")
    console.say(f"{url}/assets/api_usage shows what is left of each vendor's plan; so does `financehub usage`")
    console.say("Ctrl-C here or `financehub down` stops it; `financehub up` runs with real vendors")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
