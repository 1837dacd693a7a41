"""`backfill`, `update` and `seed`: bringing tables up to date by hand, through Dagster runs.

Belongs here: these commands' options and messages. Does not belong here: how a run is launched or watched.
"""

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.arguments import tables_like
from financehub_dagster.cli.command import command, new_app, open_home
from financehub_dagster.cli.console import Cell, Console
from financehub_dagster.cli.errors import CommandError, WrongUsage
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg

    from financehub_dagster.cli.home import Home
    from financehub_dagster.cli.platform_runs import PartOfBackfill
    from financehub_dagster.cli.reports.runs import RunResult, TableResult
    from financehub_dagster.cli.runs import TableRun

From = Annotated[str, typer.Option("--from", help="First month, as 2024-03 or any day in it.", metavar="MONTH")]
To = Annotated[str, typer.Option("--to", help="Last month, included.", metavar="MONTH")]
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbols", help="Only these, separated by commas; all active ones when not given.", metavar="A,B"),
]

INTERVALS = ("1m", "5m", "15m", "1h", "1d")

app = new_app()


@command(
    app, "backfill", example="financehub backfill stock_prices_daily --from 2015-01 --to 2016-12 --symbols AAPL,MSFT"
)
def backfill(
    console: Console,
    table: Annotated[str, typer.Argument(help="The table to fill.", metavar="TABLE", autocompletion=tables_like)],
    first: From,
    last: To,
    symbols: Symbols = None,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, help="Runs to split it into by instruments; the platform makes them.")
    ] = 1,
) -> None:
    """Fill whole months of a table in one run; doing it again stores nothing new."""
    from financehub_dagster.cli import arguments, prepare
    from financehub_dagster.cli.runs import TableRun, code_location, universe
    from financehub_dagster.settings import get_settings

    for option, text in (("--from", first), ("--to", last)):
        arguments.month(option, text)
    home = prepare.act_on_home(console)
    months = arguments.months(first, last, get_settings().financehub_history_start, datetime.now(UTC).date())

    from financehub_dagster.ingest.partitions import start_of
    from financehub_dagster.tables import BARS_OF, filled_with

    arguments.table(table, _partitioned_tables(code_location()), "is not filled by months: see `financehub jobs`")
    arguments.require_begun(table, months[0], start_of(table))
    prepare.require_migrated()
    wanted = arguments.split_symbols(symbols)
    wanted = None if wanted is None else arguments.present(wanted, console.note)
    chosen = arguments.instruments_for([table], wanted, universe(), BARS_OF)
    prepare.require_vendors(home)
    order = TableRun([table, *filled_with(table)], _span(table, *months), wanted, {table: len(chosen)})
    if parallel == 1:
        _report(console, _run(console, order))
    else:
        _run_in_parts(console, home, order, [instrument.symbol for instrument in chosen], parallel)


@command(app, "update", example="financehub update AAPL")
def update(console: Console, symbol: Annotated[str, typer.Argument(help="The instrument.", metavar="SYMBOL")]) -> None:
    """Bring bars, actions and indicators of one instrument up to date: this month and what the last week may lack."""
    from financehub_dagster.cli import arguments, prepare
    from financehub_dagster.cli.platform_runs import address
    from financehub_dagster.cli.runs import TableRun, universe
    from financehub_dagster.settings import get_settings

    home = open_home(console)

    from financehub_dagster.ingest.partitions import LOOKBACK
    from financehub_dagster.tables import BARS_OF, filled_together

    wanted = arguments.present([symbol.strip().upper()], console.note)
    [instrument] = arguments.instruments_for(list(BARS_OF), wanted, universe(), BARS_OF)
    tables = [name for name, kinds in BARS_OF.items() if instrument.asset_type in kinds]
    prepare.require_vendors(home)
    today = datetime.now(UTC).date()
    start = max(today - LOOKBACK, get_settings().financehub_history_start)
    months = (start.replace(day=1), today.replace(day=1))
    # One instrument's picture would take the place of those that a run over all of them has drawn.
    filled = list(dict.fromkeys(each for table in tables for each in (table, *filled_together(table))))
    order = TableRun(filled, months, wanted, dict.fromkeys(tables, 1), drawn=False)
    _report(console, _run(console, order, None if console.debug else address(home)))


@command(app, "seed", example="financehub seed BTC --interval 1m --days 30")
def seed(
    console: Console,
    symbol: Annotated[str, typer.Argument(help="The instrument.", metavar="SYMBOL")],
    interval: Annotated[str, typer.Option("--interval", help=f"Length of a bar: {', '.join(INTERVALS)}.")] = "1d",
    days: Annotated[int, typer.Option("--days", min=1, help="Days back from today.")] = 365,
) -> None:
    """Store one instrument's bars as far back as its vendors keep them; after an interruption it goes on from there."""
    from financehub_dagster.cli import arguments, prepare
    from financehub_dagster.cli.runs import universe
    from financehub_dagster.cli.seed_runs import SeedRun, run_seed
    from financehub_dagster.cli.signals import stop_signals

    if interval not in INTERVALS:
        raise WrongUsage(f"--interval {interval}: not an interval; choose one of {', '.join(INTERVALS)}")
    home = open_home(console)
    [wanted] = arguments.known_symbols(arguments.present([symbol.strip().upper()], console.note), universe())
    prepare.require_vendors(home)
    prepare.tell_what_is_off(console)
    with stop_signals() as stop:
        result = run_seed(console, stop, SeedRun(wanted, interval, days))
    _report(console, result)


def _span(table: str, first: date, last: date) -> tuple[date, date]:
    """The first days of the first and the last partition of `table` in the months from `first` to `last`.

    Raises WrongUsage for months that are over of a table that holds what is so now.
    """
    from financehub_dagster.ingest.partitions import by_day, is_of_now, start_of

    today = datetime.now(UTC).date()
    if is_of_now(table):
        running = today.replace(day=1)
        if first != running:
            why = f"{table} holds what is so now; only the running month can be filled"
            raise WrongUsage(f"--from {first:%Y-%m}: {why}, --from {running:%Y-%m}")
        return (today, today) if by_day(table) else (running, running)
    if not by_day(table):
        return first, last
    after = (last + timedelta(days=31)).replace(day=1)
    return max(first, start_of(table)), min(after - timedelta(days=1), today)


def _partitioned_tables(definitions: "dg.Definitions") -> list[str]:
    graph = definitions.resolve_asset_graph()
    return [key.to_user_string() for key in graph.materializable_asset_keys if graph.get(key).partitions_def]


def _run(console: Console, order: "TableRun", webserver: str | None = None) -> "RunResult":
    """Have the platform behind `webserver` make the run; without one, or where it does not work, this process."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.platform_runs import run_on_platform
    from financehub_dagster.cli.runs import run_order
    from financehub_dagster.cli.signals import stop_signals
    from financehub_dagster.operations.probes import Trouble

    prepare.tell_what_is_off(console)
    with stop_signals() as stop:
        if webserver is not None:
            try:
                return run_on_platform(console, stop, webserver, order)
            except Trouble as trouble:
                console.note(f"the platform at {webserver} makes no run ({trouble}): this process makes it")
        return run_order(console, stop, order)


def _run_in_parts(console: Console, home: "Home", order: "TableRun", symbols: list[str], parts: int) -> None:
    """Launch the order as several runs, and report them together when all have ended."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.platform_runs import run_in_parts
    from financehub_dagster.cli.reports import runs as report
    from financehub_dagster.cli.signals import stop_signals

    prepare.tell_what_is_off(console)
    with stop_signals() as stop:
        done = run_in_parts(console, stop, home, order, symbols, parts)
    whole = report.together(part.table for part in done)
    for line in report.warnings([whole]):
        console.warn(line)
    broken = [f"run {part.run_id[:8]}: {part.error}" for part in done if part.broken]
    if broken:
        stored = f"instruments done: {whole.instruments_done} of {len(symbols)}"
        runs = f"{len(broken)} of {counted(len(done), 'run')}"
        raise CommandError(f"{runs} did not end well, {stored}; {'; '.join(broken)}")
    report.require_stored([whole])
    console.result({"runs": done}, lambda: _show_parts(console, done, whole))


def _show_parts(console: Console, parts: "Sequence[PartOfBackfill]", whole: "TableResult") -> None:
    from financehub_dagster.cli.reports.runs import show_tables

    rows: list[list[Cell]] = [
        [p.run_id[:8], len(p.symbols), p.status, p.table.rows_inserted, p.table.rows_updated] for p in parts
    ]
    console.table(counted(len(parts), "run"), ["run", "symbols", "status", "inserted", "updated"], rows)
    show_tables(console, f"together, {whole.span}", [whole])


def _report(console: Console, result: "RunResult") -> None:
    from financehub_dagster.cli.reports import runs as report

    for line in report.warnings(result.tables):
        console.warn(line)
    report.require_success(result)
    report.require_stored(result.tables)
    for name, verdict in result.checks.items():
        if verdict != "passed":
            console.warn(f"check {verdict}: {name}: {result.findings.get(name, '')}")
    spans = ", ".join(sorted({table.span for table in result.tables}))
    title = f"run {result.run_id[:8]}, {spans}"
    console.result(result, lambda: report.show_tables(console, title, result.tables))
