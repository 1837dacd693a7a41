"""What the ledger says is missing, and filling it in this process, for `financehub gaps`.

Belongs here: the command's work and its tables. Does not belong here: options and exit codes, SQL, and what is due.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.signals import StopSignals
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.cli.reports.runs import RunResult
    from financehub_dagster.storage.coverage.backfill_planner import HealingBatch

SHOWN = 20
"""Instruments listed by name, those that lack most; the counts above them are of all."""
NAMED = 5
"""Instruments named in a warning."""
ORDERS_AT_ONCE = 4
"""Planned at a time and table: what a run finds out changes what is due next."""
STATES = ("expected", "stored", "empty", "gap", "dead_lettered", "deferred")


@dataclass
class Healed:
    """What filling gaps came to: runs made and failed, rows stored, instruments done in them.

    failures maps an instrument to why it failed, deferred to until when it waits and why; errors says why runs failed,
    shut until when (UTC) vendors that keep due gaps open are not asked.
    """

    runs: int = 0
    runs_failed: int = 0
    rows_stored: int = 0
    instruments_done: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    deferred: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    shut: dict[str, datetime] = field(default_factory=dict)

    @property
    def nothing_done(self) -> str | None:
        """Why nothing could be filled although something was due; None where it could, or nothing was."""
        if self.instruments_done:
            return None
        if self.errors:
            return self.errors[0]
        for symbol, reason in (self.failures | self.deferred).items():
            return f"{symbol} {reason}"
        told = [f"{vendor} is not asked before {until:%Y-%m-%d %H:%M:%S} UTC" for vendor, until in self.shut.items()]
        return ", ".join(told) or None


@dataclass
class Gaps:
    """The ledger in short; open lists those that lack most, rebuilt says how many rows were wrong, if asked.

    unknown lists instruments of whose sessions not all are known, which the ledger cannot miss, and why.
    """

    tables: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    open: Sequence[Mapping[str, object]] = ()
    unknown: Sequence[Mapping[str, object]] = ()
    rebuilt: int | None = None
    healed: Healed | None = None


def rebuild() -> int:
    """Compute the ledger anew from what is stored, that of minutes included; returns how many rows were wrong."""
    from financehub_dagster.storage.coverage import ledger, minute_rebuild

    now = datetime.now(UTC)
    return ledger.rebuild(now) + minute_rebuild.rebuild(now)


def collect(table: str | None, symbols: Sequence[str] | None) -> Gaps:
    """Bring the ledger up to now and read it, for one table or all and for `symbols` or all."""
    from financehub_dagster.market import calendars
    from financehub_dagster.storage.coverage import gaps, ledger
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.instruments import list_instruments

    now, wanted = datetime.now(UTC), None if symbols is None else frozenset(symbols)
    ledger.refresh(now)
    with transaction() as connection:
        counts = gaps.sessions_by_state(connection, symbols)
        chosen = {name: counts[name] for name in counts if table in (None, name)}
        lacking = gaps.open_gaps(connection, SHOWN, table=table, symbols=symbols)
        asked = [each for each in list_instruments(connection) if wanted is None or each.symbol in wanted]
    unknown = [{"symbols": list(each.symbols), "reason": each.message} for each in calendars.problems(asked, now)]
    return Gaps(chosen, lacking, unknown)


def heal(console: Console, stop: StopSignals, table: str | None, symbols: Sequence[str] | None) -> Healed:
    """Fill what is due, run by run, until nothing due is left that was not tried already.

    Raises StopRequested when interrupted; what was stored until then stays.
    """
    from financehub_dagster.automation.jobs.healing import due_orders, waits_for
    from financehub_dagster.cli.runs import code_location
    from financehub_dagster.tables import LEDGER_TABLES

    resources = code_location().resources or {}
    healed = Healed()
    tried: set[HealingBatch] = set()
    tables = LEDGER_TABLES if table is None else (table,)
    while True:
        orders = due_orders(
            resources["daily_bars"],
            ORDERS_AT_ONCE,
            tables=tables,
            symbols=symbols,
            intraday=resources["intraday_bars"],
        )
        orders = [order for order in orders if order not in tried]
        if not orders:
            healed.shut = waits_for(resources["daily_bars"], resources["intraday_bars"], tables, symbols)
            return healed
        for order in orders:
            stop.check()
            tried.add(order)
            _note(healed, order.table, _fill(console, stop, order))


def _fill(console: Console, stop: StopSignals, order: "HealingBatch") -> "RunResult":
    from financehub_dagster.automation.jobs.healing import tables_of
    from financehub_dagster.cli.runs import TableRun, run_order

    totals = {order.table: len(order.symbols)}
    return run_order(console, stop, TableRun(tables_of(order), (order.first, order.last), order.symbols, totals))


def _note(healed: Healed, filled: str, result: "RunResult") -> None:
    """Count a run that was to fill the table `filled`; what it computed beside that fills no gap of vendors."""
    healed.runs += 1
    healed.rows_stored += sum(table.rows_inserted + table.rows_updated for table in result.tables)
    healed.instruments_done += sum(table.instruments_done for table in result.tables if table.table == filled)
    healed.failures |= result.failures
    for table in result.tables:
        healed.deferred |= table.deferred
    if not result.success:
        healed.runs_failed += 1
        healed.errors.append(result.error or f"run {result.run_id[:8]} failed, and no reason was recorded")


def show(console: Console, found: Gaps) -> None:
    """Print counts by state, and those that lack most."""
    for each in found.unknown:
        console.warn(_unknown(each))
    if found.rebuilt is not None:
        console.say(f"ledger computed anew: {counted(found.rebuilt, 'row was', 'rows were')} wrong")
    if found.healed is not None:
        console.say(f"{counted(found.healed.runs, 'run')} stored {counted(found.healed.rows_stored, 'row')}")
    rows: list[list[Cell]] = [[name, *(counts[state] for state in STATES)] for name, counts in found.tables.items()]
    console.table("sessions", ["table", *STATES], rows)
    if not found.open:
        console.say("nothing is missing")
        return
    columns = ["table", "symbol", "gap", "dead_lettered", "deferred", "from", "to", "worst month"]
    names = ("table", "symbol", "gap", "dead_lettered", "deferred", "first_month", "last_month", "worst_month")
    worst: list[list[Cell]] = [[_cell(row[name]) for name in names] for row in found.open]
    console.table("instruments that lack most", columns, worst)


def _unknown(problem: Mapping[str, object]) -> str:
    names = problem["symbols"]
    assert isinstance(names, list)
    shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return f"{problem['reason']}; concerns {shown}" if names else str(problem["reason"])


def _cell(value: object) -> Cell:
    if isinstance(value, date):
        return f"{value:%Y-%m}"
    return value if isinstance(value, int | str) else str(value)
