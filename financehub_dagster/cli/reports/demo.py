"""The summary of a demo: what is in each table, what the checks say, what it took.

Belongs here: collecting and printing it. Does not belong here: SQL.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Console

if TYPE_CHECKING:
    from financehub_dagster.cli.runs import RunResult


@dataclass(frozen=True)
class TableSummary:
    """One table: first and last are stored sessions, partitions the materialized ones.

    seconds is what its step took; None for a table that another table's step fills.
    """

    table: str
    rows: int
    instruments: int
    first: date | None
    last: date | None
    partitions: int
    seconds: float | None


@dataclass(frozen=True)
class Summary:
    """A finished demo; seconds from its start to here.

    checks counts verdicts, not_passed names the checks that did not pass, calls counts the requests to each vendor.
    """

    home: str
    url: str | None
    run_id: str
    tables: list[TableSummary]
    checks: dict[str, int]
    not_passed: list[str]
    calls: dict[str, int]
    failures: dict[str, str]
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """For --json."""
        return asdict(self)


def collect(home: str, url: str | None, tables: Sequence[str], result: "RunResult", seconds: float) -> Summary:
    """Read the tables and count."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        partitions = {name: len(instance.get_materialized_partitions(dg.AssetKey(name))) for name in tables}
    return Summary(
        home=home,
        url=url,
        run_id=result.run_id,
        tables=[_table(name, partitions[name], result.seconds.get(name)) for name in tables],
        checks=dict(Counter(result.checks.values())),
        not_passed=[name for name, verdict in result.checks.items() if verdict != "passed"],
        calls=_calls(),
        failures=result.failures,
        seconds=round(seconds, 1),
    )


def _table(name: str, partitions: int, seconds: float | None) -> TableSummary:
    from financehub_dagster.storage import tables
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.history import row_count, stored_spans
    from financehub_dagster.storage.instruments import list_instruments

    with transaction() as connection:
        rows = row_count(connection, name)
        symbols = [instrument.symbol for instrument in list_instruments(connection, active=None)]
        dated = "date" in tables.metadata.tables[name].c
        spans = stored_spans(connection, name, symbols) if dated else {}
    first = min((span[0] for span in spans.values()), default=None)
    last = max((span[1] for span in spans.values()), default=None)
    return TableSummary(name, rows, len(spans) if dated else rows, first, last, partitions, seconds)


def _calls() -> dict[str, int]:
    from financehub_dagster.storage.engine import market_engine
    from financehub_dagster.storage.usage import read

    calls: Counter[str] = Counter()
    for usage in read(market_engine(), datetime.now(UTC).date()):
        calls[usage.provider] += usage.calls
    return dict(calls)


def show(console: Console, summary: Summary) -> None:
    """Print the summary and what to do next."""
    columns = ["table", "rows", "symbols", "first", "last", "months", "seconds"]
    rows = [[t.table, t.rows, t.instruments, t.first, t.last, t.partitions, t.seconds] for t in summary.tables]
    console.table("Sample market: recorded stocks 2013-2018, Bitcoin 2009-2026; the rest is generated", columns, rows)
    names = f" ({', '.join(summary.not_passed)})" if summary.not_passed else ""
    console.say(f"checks: {_counts(summary.checks) or 'none ran'}{names}")
    console.say(f"vendor calls today, all answered by the sandbox: {_counts(summary.calls)}")
    for symbol, reason in summary.failures.items():
        console.warn(f"{symbol} failed: {reason}")
    console.say(f"done in {summary.seconds:.0f} s")


def show_next_steps(console: Console, url: str | None) -> None:
    """Print where to look."""
    if url is None:
        console.say("everything is stopped again; `financehub up --sandbox` opens it in the browser")
        return
    console.say(f"open {url}/asset-groups for the lineage, {url}/assets/stock_prices_daily for partitions and a chart")
    console.say("Ctrl-C here or `financehub down` stops it; `financehub up` runs with real vendors")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
