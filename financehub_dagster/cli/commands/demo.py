"""`demo`: the whole platform on the sample market, from nothing to filled tables.

Belongs here: the order of the demo and its options. Does not belong here: its runs (cli.demo_runs) and the summary
(reports.demo).
"""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from financehub_dagster.cli import arguments
from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.commands.backfill import Symbols
from financehub_dagster.cli.commands.platform import Port, tell_of_others
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home, Mode, home_to_start
from financehub_dagster.cli.reports.demo import collect, show, show_next_steps
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from financehub_dagster.cli.signals import StopSignals
    from financehub_dagster.cli.supervisor.supervisor import Supervisor

app = new_app()


@command(app, "demo", example="financehub demo --from 2016-01 --symbols AAPL,BTC --no-ui")
def demo(
    console: Console,
    port: Port = None,
    ui: Annotated[
        bool, typer.Option("--ui/--no-ui", help="Stay with the webserver, or stop after the summary.")
    ] = True,
    first: Annotated[
        str | None, typer.Option("--from", help="First month; FINANCEHUB_HISTORY_START.", metavar="MONTH")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last month; the running one.", metavar="MONTH")] = None,
    symbols: Symbols = None,
) -> None:
    """Fill every table from the sample market through Dagster runs, then show the webserver. Needs no network."""
    from financehub_dagster.cli.signals import stop_signals
    from financehub_dagster.cli.supervisor import launch
    from financehub_dagster.cli.supervisor.state import sole_supervisor
    from financehub_dagster.cli.supervisor.stopping import end_left_behind
    from financehub_dagster.cli.supervisor.supervisor import Supervisor

    began = time.monotonic()
    months = _months(first, last)
    home = home_to_start(Mode.SANDBOX)
    home.check_mode(Mode.SANDBOX)
    with sole_supervisor(home), stop_signals() as stop:
        end_left_behind(home, console)
        port = launch.webserver_port(home, console, port) if ui else None
        tell_of_others(console, home)
        sandbox_url = str(launch.enter_home(home, Mode.SANDBOX, console))
        with (
            Supervisor(home, os.environ, console) as supervisor,
            _Pages(supervisor, stop, port) as pages,
        ):
            launch.start_sandbox(supervisor, sandbox_url)
            launch.open_database(home, Mode.SANDBOX, console)
            url = _fill(console, home, pages, months, arguments.split_symbols(symbols), began)
            if url is not None:
                _serve(console, supervisor, stop, url)
        if url is None:
            show_next_steps(console, None)


class _Pages:
    """The webserver, started aside while the backfill waits for vendors' limits; without a port there is none."""

    def __init__(self, supervisor: "Supervisor", stop: "StopSignals", port: int | None) -> None:
        self.supervisor = supervisor
        self.stop = stop
        self._port = port
        self._aside = ThreadPoolExecutor(1)
        self._url: Future[str] | None = None

    def __enter__(self) -> "_Pages":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self.stop.request()  # whoever still starts the webserver need not go on
        self._aside.shutdown()

    def start(self) -> None:
        """Begin."""
        from financehub_dagster.cli.supervisor import launch

        if self._port is not None:
            self._url = self._aside.submit(launch.start_pages, self.supervisor, self._port, self.stop)

    def url(self) -> str | None:
        """The address, once the pages show the code."""
        return None if self._url is None else self._url.result()


def _fill(
    console: Console, home: Home, pages: _Pages, months: tuple[date, date], symbols: list[str] | None, began: float
) -> str | None:
    """Make the runs and print their summary; returns the address of the webserver."""
    from financehub_dagster.cli.demo_runs import TABLES, orders
    from financehub_dagster.cli.reports.runs import require_success, warnings
    from financehub_dagster.cli.runs import code_location, run_order, universe
    from financehub_dagster.tables import BARS_OF

    chosen = arguments.instruments_for(list(BARS_OF), symbols, universe(), BARS_OF)
    code_location()  # imported while the sandbox gets ready
    pages.supervisor.wait_ready("sandbox", pages.stop)
    _hold_samples(console)
    results = []
    for order in orders(chosen, months, symbols, pages.start, datetime.now(UTC)):
        result = run_order(console, pages.stop, order)
        require_success(result)
        for line in warnings([table for table in result.tables if table.nothing_stored]):
            console.warn(line)
        results.append(result)
    _rank(console, pages)
    url = pages.url()
    summary = collect(str(home.path), url, TABLES, results, time.monotonic() - began)
    console.result(summary, lambda: show(console, summary))
    return url


def _hold_samples(console: Console) -> None:
    """Give the account `sample` a few invented lots; other accounts stay as they are."""
    from importlib.resources import as_file, files

    from financehub_dagster.market.holdings import parse
    from financehub_dagster.storage.database.transactions import in_transaction
    from financehub_dagster.storage.queries.holdings import replace_lots

    with as_file(files("financehub_dagster.sandbox").joinpath("data/holdings.csv")) as path:
        lots = parse(path)
    in_transaction(lambda connection: replace_lots(connection, lots))
    console.note(f"holdings: {counted(len(lots), 'invented lot')} in the account {lots[0].account}")


def _rank(console: Console, pages: _Pages) -> None:
    """Compute how important each instrument is, as the platform does every night."""
    from financehub_dagster.cli.runs import run_one_job

    ranked, _ = run_one_job(console, pages.stop, "rank_instruments", {})
    if not ranked.success:
        raise CommandError(f"rank_instruments has failed: {ranked.error}")


def _serve(console: Console, supervisor: "Supervisor", stop: "StopSignals", url: str) -> None:
    from financehub_dagster.cli.signals import StopRequested
    from financehub_dagster.cli.supervisor import launch

    launch.start_daemon(supervisor)
    launch.start_http_server(supervisor, None)
    show_next_steps(console, url)
    try:
        supervisor.serve(stop)
    except StopRequested:
        console.note("stopping")


def _months(first: str | None, last: str | None) -> tuple[date, date]:
    from financehub_dagster.settings import get_settings

    today, start = datetime.now(UTC).date(), get_settings().financehub_history_start
    return arguments.months(first or f"{start:%Y-%m}", last or f"{today:%Y-%m}", start, today)
