"""Starting the whole platform of a home, in the order in which its parts need each other.

Belongs here: the order of starting. Does not belong here: command-line options and messages of one command.
"""

import os

from financehub_dagster.cli import prepare
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home, Mode, block_for, enter, sandbox_variables
from financehub_dagster.cli.signals import StopSignals
from financehub_dagster.cli.supervisor import leftovers, ports, services
from financehub_dagster.cli.supervisor.supervisor import Supervisor
from financehub_dagster.settings import get_settings

WEBSERVER_PORT = 3000
DEFAULT_PORT = 8710
"""Of health and metrics (serving.http)."""
# One transaction for the events of many partitions: it halves the bookkeeping of long backfills.
RUN_ENVIRONMENT = {
    "DAGSTER_EVENT_BATCH_SIZE": "500",
    "PYTHONUNBUFFERED": "1",
    # glibc would keep a heap for each of many threads that mostly wait, and give none of them back.
    "MALLOC_ARENA_MAX": "2",
    # Run status sensors look at five of 25 runs a tick unless told otherwise: a storm would keep them busy for days.
    "DAGSTER_RUN_STATUS_SENSOR_FETCH_LIMIT": "2000",
    "DAGSTER_RUN_STATUS_SENSOR_PROCESS_LIMIT": "2000",
    # Which came first, a month's bars or its levels, is told for up to so many months of one tick.
    "DAGSTER_MAX_PARTITIONS_FOR_DA_TIMESTAMP_FETCH": "1000",
}


def enter_home(home: Home, mode: Mode, console: Console) -> str | None:
    """Prepare the folders and lead this process there; returns the sandbox's address in sandbox mode.

    In sandbox mode `.env` is written now: its block keeps a database address among the user's own lines out of use.
    """
    home.prepare(mode)
    for note in enter(home, mode):
        console.warn(note)
    url = None
    if mode is Mode.SANDBOX:
        url = f"http://{ports.HOST}:{ports.remembered(home.ports_file, 'sandbox', ports.reserve)}"
        os.environ.update(sandbox_variables(url))
        prepare.point_env_file(console, block_for(home, mode, url))
    os.environ.update(RUN_ENVIRONMENT)
    get_settings.cache_clear()  # whoever read them before now saw the environment of another home
    return url


def open_database(home: Home, mode: Mode, console: Console, *, empty: bool = False) -> None:
    """Start and migrate the database, give it a universe, and in live mode lead `.env` to a home that works.

    empty: the home gets no instruments, now and later. What real vendors will be asked for is told.
    """
    before, after = prepare.migrate()
    if before != after:
        console.note(f"database: migrated to {after}")
    if empty:
        home.keep_empty()
        if prepare.has_instruments():
            console.warn("--empty: there are instruments already, and they stay; `financehub instruments remove`")
    count = 0 if home.is_kept_empty else prepare.load_default_universe()
    if count:
        console.note(f"instruments: {count} from the default universe (`financehub up --empty` starts with none)")
    if mode is Mode.LIVE:
        prepare.point_env_file(console, block_for(home, mode))
        get_settings.cache_clear()
        _tell_what_is_asked(console)


def _tell_what_is_asked(console: Console) -> None:
    from financehub_dagster.cli.first_fetch import first_fetch

    if not prepare.has_instruments():
        console.note("no instruments: nobody is asked until `financehub instruments add` or `import` brings some")
    for line in first_fetch().lines():
        console.note(line)


def start_sandbox(supervisor: Supervisor, url: str) -> None:
    """Start the sandbox; it takes some seconds until it answers."""
    supervisor.start(services.sandbox(int(url.rpartition(":")[2])))


def start_pages(supervisor: Supervisor, port: int, stop: StopSignals, pages: services.Pages | None = None) -> str:
    """Start code server and webserver; returns the address of the pages once they show the code."""
    supervisor.watch_database(services.Database(supervisor.home.path))
    code_port = reserved_port(0)
    workspace = services.write_workspace(supervisor.home, code_port)
    supervisor.start(services.code_server(code_port))
    leftovers.settle(supervisor.console, code_port)
    supervisor.wait_ready("code-server", stop)
    service = services.dagster_webserver(port, workspace, pages or services.Pages())
    supervisor.start(service)
    supervisor.wait_ready("webserver", stop)
    return str(service.url)


def start_http_server(supervisor: Supervisor, port: int | None) -> str:
    """Start the server of health and metrics and return its address; without `port` on its usual one if that is free.

    Otherwise on another one, which this home then keeps. Raises CommandError when the port that was asked for is taken.
    """
    if port is None:
        home, console = supervisor.home, supervisor.console
        port = _usual_port(home, console, DEFAULT_PORT, "serve", "health and metrics are", "--serve-port")
    service = services.http_server(reserved_port(port, "--serve-port"))
    supervisor.start(service)
    return str(service.url)


def webserver_port(home: Home, console: Console, port: int | None) -> int:
    """The port of Dagster's pages, chosen like that of health and metrics."""
    if port is None:
        port = _usual_port(home, console, WEBSERVER_PORT, "webserver", "the webserver is", "--port")
    return reserved_port(port)


def reserved_port(port: int, option: str = "--port") -> int:
    """`port`, which `option` chooses, or any free one for 0, kept for us; raises CommandError when it is taken."""
    if port == 0:
        while not ports.reserve(port := ports.pick_free()):
            pass
    elif not ports.reserve(port):
        raise CommandError(f"port {port} is taken: stop what listens there, or choose another one with {option}")
    return port


def _usual_port(home: Home, console: Console, usual: int, name: str, what: str, option: str) -> int:
    if ports.reserve(usual):
        return usual
    port = ports.remembered(home.ports_file, name, ports.reserve)
    console.note(f"port {usual} is taken: {what} on port {port} ({option} chooses another)")
    return port


def start_daemon(supervisor: Supervisor) -> None:
    """Start what makes schedules, sensors and queued runs move."""
    supervisor.start(services.daemon(supervisor.home.path / "workspace.yaml"))
