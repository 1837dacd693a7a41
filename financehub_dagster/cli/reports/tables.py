"""What `financehub tables` shows, read off the declarations; `docs/tables.md` holds the same.

Belongs here: rows and their Markdown. Does not belong here: the declarations (tables).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.tables import TABLES
from financehub_dagster.tables.declaration import Derived, FilledWith, Maintained, Table
from financehub_dagster.wording import counted


@dataclass(frozen=True)
class TableRow:
    """A table: what it holds, where its rows come from, how it is cut, and the jobs over it with their cadence."""

    table: str
    holds: str
    source: str
    partitions: str
    jobs: list[str]


def collect() -> list[TableRow]:
    """One row for each table, in the order of the register."""
    return [_row(table) for table in TABLES.values()]


def _row(table: Table) -> TableRow:
    jobs = [f"{job.name} ({f'{job.cron} {job.timezone}' if job.cron else 'on request'})" for job in table.jobs]
    return TableRow(
        table.name, table.comment, _source(table), f"by {table.partitions}" if table.partitions else "", jobs
    )


def _source(table: Table) -> str:
    filled = table.filled
    if isinstance(filled, FilledWith):
        return f"the answers for {filled.table}"
    if isinstance(filled, Derived):
        return "computed from " + ", ".join(filled.inputs)
    if isinstance(filled, Maintained):
        return "the platform"
    from financehub_dagster.providers.table_sources import vendors_of

    return "vendors: " + ", ".join(vendors_of(table.name))


def as_markdown(rows: Sequence[TableRow]) -> str:
    """A Markdown table; bars within cells are escaped."""
    lines = ["| table | holds | rows come from | partitions | jobs |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [f"`{row.table}`", row.holds, row.source, row.partitions, "<br>".join(row.jobs)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def show(console: Console, rows: Sequence[TableRow]) -> None:
    """Print the table to the terminal."""
    cells: list[list[Cell]] = [[row.table, row.holds, row.source, row.partitions] for row in rows]
    console.table(counted(len(rows), "table"), ["table", "holds", "rows come from", "partitions"], cells)
