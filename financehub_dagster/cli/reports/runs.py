"""What runs did to tables and what they left undone: as data, as warnings, and as the verdict on a command.

Belongs here: reading a run's numbers, and whether anything was stored. Does not belong here: making runs (cli.runs).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.errors import CommandError


@dataclass(frozen=True)
class TableResult:
    """What a run did to one table.

    failures maps a symbol to its reason, deferred one to the time (UTC) until which its work waits, and why; off one
    that no vendor with a key serves to which key is lacking.
    """

    table: str
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_unchanged: int = 0
    rows_rejected: int = 0
    rows_withdrawn: int = 0
    instruments_done: int = 0
    instruments_failed: int = 0
    instruments_deferred: int = 0
    vendor_calls: int = 0
    span: str = ""
    failures: dict[str, str] = field(default_factory=dict)
    deferred: dict[str, str] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)

    @property
    def nothing_stored(self) -> bool:
        """Whether no instrument is done and something kept them from it."""
        return not self.instruments_done and bool(self.failures or self.deferred or self.off)

    def left_undone(self) -> str:
        """How many instruments failed, are deferred and have no vendor, each with the first reason; or empty."""
        found = (
            (self.failures, "failed (`financehub dlq list`)"),
            (self.deferred, "deferred"),
            (self.off, "without a vendor that has a key"),
        )
        told = []
        for reasons, what in found:
            if reasons:
                symbol, reason = min(reasons.items(), key=lambda each: (each[1], each[0]))
                told.append(f"{len(reasons)} {what}: {symbol} {reason}")
        return "; ".join(told)


@dataclass(frozen=True)
class RunResult:
    """One finished run.

    checks maps a check's name to passed, warned or failed, findings one that did not pass to what it found and the
    instruments concerned, seconds a step to what it took.
    """

    run_id: str
    success: bool
    error: str | None
    tables: list[TableResult]
    checks: dict[str, str]
    seconds: dict[str, float]
    findings: dict[str, str] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, str]:
        """Every instrument that failed in some table, with its first reason."""
        return failures_in(self.tables)


def failures_in(tables: Iterable[TableResult]) -> dict[str, str]:
    """Every instrument that failed in some of the tables, with its first reason."""
    found: dict[str, str] = {}
    for table in tables:
        found = table.failures | found
    return found


_COUNTS = tuple(each.name for each in fields(TableResult) if each.type is int)


def table_result(name: str, values: Mapping[str, Any]) -> TableResult:
    """From the values of a materialization's metadata, or of what a failed step leaves."""
    deferred = {str(row["symbol"]): f"until {row['until']}: {row['reason']}" for row in _records(values, "deferred")}
    return TableResult(
        table=name,
        span=str(values.get("span", "")),
        failures={str(row["symbol"]): str(row["reason"]) for row in _records(values, "failures")},
        deferred=deferred,
        off={str(row["symbol"]): str(row["reason"]) for row in _records(values, "off")},
        **{count: int(values.get(count, 0)) for count in _COUNTS},
    )


def _records(values: Mapping[str, Any], name: str) -> list[Mapping[str, object]]:
    found = values.get(name)
    return [] if found is None else [record.data for record in found.records]


def together(results: Iterable[TableResult]) -> TableResult:
    """The results of runs over different instruments of one table as one."""
    every = list(results)
    return TableResult(
        table=every[0].table,
        span=every[0].span,
        failures={symbol: reason for each in every for symbol, reason in each.failures.items()},
        deferred={symbol: reason for each in every for symbol, reason in each.deferred.items()},
        off={symbol: reason for each in every for symbol, reason in each.off.items()},
        **{count: sum(getattr(each, count) for each in every) for count in _COUNTS},
    )


def require_success(result: RunResult) -> None:
    """Raise CommandError when the run failed: nothing could be stored in some table."""
    if not result.success:
        raise CommandError(f"run {result.run_id[:8]} failed: {result.error or 'no reason was recorded'}")


def require_stored(tables: Iterable[TableResult]) -> None:
    """Raise CommandError when a table got nothing, and say what became of its instruments."""
    for each in tables:
        if each.nothing_stored:
            raise CommandError(f"{each.table}: nothing was stored: {each.left_undone()}")


def warnings(tables: Sequence[TableResult]) -> Iterator[str]:
    """A line for each instrument that failed in some table, and one for what else a table lacks."""
    for symbol, reason in failures_in(tables).items():
        yield f"{symbol} failed: {reason}"
    for table in tables:
        others = TableResult(table.table, deferred=table.deferred, off=table.off).left_undone()
        if others:
            yield f"{table.table}: {others}"


def show_tables(console: Console, title: str, tables: Sequence[TableResult]) -> None:
    """Print one line per table."""
    columns = ["table", "inserted", "updated", "unchanged", "rejected", "withdrawn", "symbols", "deferred", "calls"]
    rows: list[list[Cell]] = []
    for t in tables:
        asked = t.instruments_done + t.instruments_failed + t.instruments_deferred
        done = f"{t.instruments_done} of {asked}"
        counts: list[Cell] = [t.rows_inserted, t.rows_updated, t.rows_unchanged, t.rows_rejected, t.rows_withdrawn]
        rows.append([t.table, *counts, done, t.instruments_deferred, t.vendor_calls])
    console.table(title, columns, rows)
