"""`up`, `down`, `status` and `health`: the platform as running processes, and whether it works.

Belongs here: these commands' options and messages. Does not belong here: how processes are kept alive (supervisor), and
the checks (operations.health).
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from financehub_dagster.cli.command import command, new_app
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import FAILED, WrongUsage
from financehub_dagster.cli.home import (
    Home,
    Mode,
    enter,
    home_to_look_at,
    home_to_start,
    is_home_chosen,
    relative,
    require_started,
)

Port = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="Port of the webserver on 127.0.0.1; 3000, or a free one."),
]
ServePort = Annotated[
    int | None,
    typer.Option(
        "--serve-port", min=0, max=65535, help="Port of health and metrics on 127.0.0.1; 8710, or a free one."
    ),
]

app = new_app()


@command(app, "up", example="financehub up --port 3001")
def up(
    console: Console,
    port: Port = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Resume a demo: the sample market instead of vendors.")
    ] = False,
    empty: Annotated[
        bool, typer.Option("--empty", help="Start without the instruments that come with the package.")
    ] = False,
    serve_port: ServePort = None,
    host: Annotated[
        str, typer.Option("--host", help="Where the webserver listens; anything but loopback needs a proxy with login.")
    ] = "127.0.0.1",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="A webserver that shows everything and can change nothing.")
    ] = False,
) -> None:
    """Run the platform here until Ctrl-C: database, webserver, daemon and code location."""
    from financehub_dagster.cli import prepare
    from financehub_dagster.cli.signals import StopRequested, stop_signals
    from financehub_dagster.cli.supervisor import launch
    from financehub_dagster.cli.supervisor.claim import Claim
    from financehub_dagster.cli.supervisor.services import Pages
    from financehub_dagster.cli.supervisor.state import sole_supervisor
    from financehub_dagster.cli.supervisor.stopping import end_left_behind
    from financehub_dagster.cli.supervisor.supervisor import Supervisor

    mode = Mode.SANDBOX if sandbox else Mode.LIVE
    home = home_to_start(mode)
    home.check_mode(mode)
    require_proxy(host)
    with sole_supervisor(home), stop_signals() as stop:
        end_left_behind(home, console)
        port = launch.webserver_port(home, console, port)
        if serve_port is not None:
            serve_port = launch.reserved_port(serve_port, "--serve-port")
        tell_of_others(console, home)
        sandbox_url = launch.enter_home(home, mode, console)
        with Claim(console) as claim, Supervisor(home, os.environ, console) as supervisor:
            if sandbox_url is not None:
                launch.start_sandbox(supervisor, sandbox_url)
            claim.take(supervisor, stop)  # before anything is migrated under a platform that runs elsewhere
            launch.open_database(home, mode, console, empty=empty)
            claim.take(supervisor, stop)
            prepare.tell_what_is_off(console)
            url = launch.start_pages(supervisor, port, stop, Pages(host, read_only))
            if sandbox_url is not None:
                supervisor.wait_ready("sandbox", stop)
            launch.start_daemon(supervisor)
            serve_url = launch.start_http_server(supervisor, serve_port)
            started = _started(home, mode, url, sandbox_url) | {"serve": serve_url}
            console.result(started, lambda: _show_started(console, home, url, serve_url))
            try:
                supervisor.serve(stop)
            except StopRequested:
                console.note("stopping")


def require_proxy(host: str) -> None:
    """Raise WrongUsage where others could reach a webserver at `host`, which has no login, without a proxy's."""
    from financehub_dagster.serving.guard import is_loopback
    from financehub_dagster.settings import get_settings

    if not (is_loopback(host) or get_settings().financehub_behind_proxy):
        raise WrongUsage(
            f"--host {host} would show the webserver, which has no login, to others: set FINANCEHUB_BEHIND_PROXY=true "
            "if only a proxy with a login can reach it (docs/deployment.md)"
        )


def _started(home: Home, mode: Mode, url: str, sandbox_url: str | None) -> dict[str, object]:
    return {"url": url, "home": str(home.path), "mode": str(mode), "sandbox": sandbox_url, "pid": os.getpid()}


def _show_started(console: Console, home: Home, url: str, serve_url: str) -> None:
    console.say(f"FinanceHub is up: {url}")
    console.say(f"health and metrics: {serve_url}/health, {serve_url}/metrics")
    console.say(f"logs: {home.logs}; Ctrl-C here or `financehub down` stops it")


@command(app, "down", example="financehub down")
def down(console: Console) -> None:
    """Stop what runs in this folder's platform; does nothing when nothing runs."""
    from financehub_dagster.cli.supervisor.stopping import stop_platform

    home = home_to_look_at()
    stopped = stop_platform(home)
    others = others_running(home)
    if not stopped and len(others) == 1 and not is_home_chosen():
        # `.env` leads to the platform that was started last, and this one was started before it.
        home = others.pop()
        stopped = stop_platform(home)
    console.result(
        {"home": str(home.path), "stopped": stopped},
        lambda: console.say(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running"),
    )
    for other in others:
        console.note(f"{other.path} runs too: `financehub down --home {relative(other)}` stops it")


def others_running(home: Home) -> list[Home]:
    """The other homes of this folder in which a platform runs."""
    from financehub_dagster.cli.supervisor.state import running_here

    return [other for other, _ in running_here(Path.cwd()) if other.path != home.path]


def tell_of_others(console: Console, home: Home) -> None:
    """Say, before a platform starts, that another one runs in the same folder."""
    for other in others_running(home):
        console.note(
            f"{other.path} runs too; commands here act on {home.path} from now on, and on that one with "
            f"`--home {relative(other)}`"
        )


@command(app, "status", example="financehub status --json")
def status(
    console: Console,
    tasks: Annotated[
        bool, typer.Option("--tasks", help="Show every job's successes, failures and runtimes instead.")
    ] = False,
) -> None:
    """Show what runs, whether it works, what is stored and which runs are in progress."""
    from financehub_dagster.cli.reports import tasks as statistics
    from financehub_dagster.cli.reports.status import collect, show

    home = home_to_look_at()
    if tasks:
        rows = statistics.collect(home)
        console.result({"tasks": rows}, lambda: statistics.show(console, rows))
        return
    found = collect(home, others_running(home))
    console.result(found, lambda: show(console, found))


@command(app, "health", example="financehub health --json")
def health(console: Console) -> None:
    """Check database, daemon, code location, queue, vendors, disk and clock; exit 1 when the platform is unhealthy."""
    from financehub_dagster.operations.health import check
    from financehub_dagster.settings import get_settings

    home = home_to_look_at()
    enter(home, require_started(home))
    get_settings.cache_clear()
    found = check()
    columns = ["component", "status", "detail"]
    rows = [[each.component, each.status, each.detail] for each in found.components]
    console.result(found.as_dict(), lambda: console.table(f"platform: {found.status}", columns, rows))
    if found.status == "failed":
        raise typer.Exit(FAILED)
