"""`demo`: the whole platform on the sample market, from nothing to filled tables.

Belongs here: the order of the demo and its options. Does not belong here: the summary (reports.demo).
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli.command import command
from financehub_dagster.cli.commands.backfill import Symbols
from financehub_dagster.cli.commands.platform import DEFAULT_PORT, Port
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.home import Home, Mode, home_to_start
from financehub_dagster.cli.reports.demo import show_next_steps

if TYPE_CHECKING:
    from financehub_dagster.cli.signals import StopSignals
    from financehub_dagster.cli.supervisor import Supervisor

# The month in which the recorded prices of the sandbox begin.
FIRST_RECORDED_MONTH = "2013-02"
TABLES = ("instruments", "stock_prices_daily", "corporate_actions", "crypto_prices_daily", "indicators_daily")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    command(app, "demo")(demo)


def demo(
    console: Console,
    port: Port = DEFAULT_PORT,
    ui: Annotated[
        bool, typer.Option("--ui/--no-ui", help="Stay with the webserver, or stop after the summary.")
    ] = True,
    first: Annotated[str, typer.Option("--from", help="First month.", metavar="MONTH")] = FIRST_RECORDED_MONTH,
    last: Annotated[str | None, typer.Option("--to", help="Last month; the running one.", metavar="MONTH")] = None,
    symbols: Symbols = None,
) -> None:
    """Fill every table from the sample market through Dagster runs, then show the webserver. Needs no network."""
    from financehub_dagster.cli import arguments, launch
    from financehub_dagster.cli.services import require_free
    from financehub_dagster.cli.signals import stop_signals
    from financehub_dagster.cli.state import sole_supervisor
    from financehub_dagster.cli.supervisor import Supervisor

    began = time.monotonic()
    months = _months(first, last)
    home = home_to_start(Mode.SANDBOX)
    home.check_mode(Mode.SANDBOX)
    with sole_supervisor(home), stop_signals() as stop:
        if ui:
            require_free(port)
        sandbox_url = str(launch.open_home(home, Mode.SANDBOX, console))
        with Supervisor(home, os.environ, console) as supervisor:
            launch.start_sandbox(supervisor, sandbox_url, stop)
            url = launch.start_pages(supervisor, port, stop, wait=False) if ui else None
            _fill(console, stop, _Demo(home, url, months, arguments.split_symbols(symbols), began))
            if url is not None:
                _serve(console, supervisor, stop, url)
        if url is None:
            show_next_steps(console, None)


@dataclass(frozen=True)
class _Demo:
    home: Home
    url: str | None
    months: tuple[date, date]
    symbols: list[str] | None
    began: float


def _fill(console: Console, stop: "StopSignals", demo: _Demo) -> None:
    from financehub_dagster.assets.config import BARS_OF
    from financehub_dagster.cli import arguments
    from financehub_dagster.cli.reports.demo import collect, show
    from financehub_dagster.cli.runs import code_location, require_stored, run_tables, universe

    everything = universe()
    totals = {
        name: len(arguments.instruments_for([name], None, everything, {name: kinds})) for name, kinds in BARS_OF.items()
    }
    arguments.instruments_for(list(BARS_OF), demo.symbols, everything, BARS_OF)
    result = run_tables(console, stop, code_location(), TABLES, demo.months, demo.symbols, totals)
    require_stored(result)
    summary = collect(str(demo.home.path), demo.url, TABLES, result, time.monotonic() - demo.began)
    console.result(summary.as_dict(), lambda: show(console, summary))


def _serve(console: Console, supervisor: "Supervisor", stop: "StopSignals", url: str) -> None:
    from financehub_dagster.cli import launch
    from financehub_dagster.cli.signals import StopRequested

    launch.start_daemon(supervisor)
    try:
        supervisor.wait_ready("webserver", stop)
        show_next_steps(console, url)
        supervisor.serve(stop)
    except StopRequested:
        console.note("stopping")


def _months(first: str, last: str | None) -> tuple[date, date]:
    from financehub_dagster.cli import arguments

    today = datetime.now(UTC).date()
    start = arguments.month("--from", FIRST_RECORDED_MONTH)
    return arguments.months(first, last or f"{today:%Y-%m}", start, today)
