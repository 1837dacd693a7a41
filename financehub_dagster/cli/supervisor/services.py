"""The parts of a running platform: how each is started, and how one knows that it works.

Belongs here: command lines, readiness, and the call that each part is judged by. Does not belong here: supervising.
Webserver and daemon share one code server, so that the code is imported once.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.supervisor import ports
from financehub_dagster.cli.supervisor.processes import is_stopped, let_go_on
from financehub_dagster.operations import probes
from financehub_dagster.storage import whole_files

CODE_LOCATION = "financehub"
DEFINITIONS = "financehub_dagster.definitions"


def nothing_to_wait_for() -> bool:
    """The readiness of a process that serves nobody."""
    return True


@dataclass(frozen=True)
class Service:
    """One process: its command line, whether it is ready (raises CommandError when it never will be), its address.

    probe makes the call that the process is judged by, at each of its starts and with a clock in seconds; None where a
    living process is all there is to see. needs names the parts without which it cannot work: their failure is not its.
    The platform stops when an essential part dies again and again; any other part is started again for ever.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool] = nothing_to_wait_for
    url: str | None = None
    ready_within: float = 120.0
    probe: Callable[[Callable[[], float]], probes.Probe] | None = None
    needs: tuple[str, ...] = ()
    essential: bool = True


class Database:
    """The database as a part of the platform; it is ours to restart where it is the embedded one of `home`."""

    name = "database"

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server: int | None = None
        """The process of the embedded server when it was last asked."""

    def probe(self) -> None:
        """A call that shows whether it works; raises Trouble. Never starts the server."""
        from financehub_dagster.storage.database import embedded
        from financehub_dagster.storage.database.urls import is_embedded

        if is_embedded():
            pid = embedded.status(self.home).pid
            if pid is None:
                raise probes.Trouble("its server has ended", 0.0)
            if is_stopped(pid):
                raise probes.Trouble("a signal has stopped its server")
            self.server = pid
        probes.database()

    def repair(self) -> str | None:
        """Make an embedded server work again, and say how; None where the server is somebody else's."""
        from financehub_dagster.storage.database import embedded
        from financehub_dagster.storage.database.urls import is_embedded

        if not is_embedded():
            return None
        pid = embedded.status(self.home).pid
        if pid is not None and let_go_on(pid):
            return "it was told to go on"
        if pid is not None:
            embedded.stop(self.home)
        self.server = embedded.ensure_running(self.home).pid
        return "it was started again"


def sandbox(port: int) -> Service:
    """The sample market."""
    argv = (sys.executable, "-m", "financehub_dagster.sandbox", "--host", ports.HOST, "--port", str(port))
    url = f"http://{ports.HOST}:{port}"
    return Service(
        "sandbox", argv, lambda: probes.works(partial(probes.sandbox, url)), url, probe=_asks(probes.sandbox, url)
    )


def code_server(port: int) -> Service:
    """The code location; it launches runs as its own children.

    With `--lazy-load-user-code`, code that does not load is shown as the location's error. `dagster code-server start`
    would put a second process before this one, for loading changed code into a running platform (docs/adr/0068).
    """
    options: tuple[str, ...] = ("-m", DEFINITIONS, "-h", ports.HOST, "-p", str(port), "--location-name", CODE_LOCATION)
    options = (*options, "--log-level", "warning", "--lazy-load-user-code", "--inject-env-vars-from-instance")
    argv = (sys.executable, "-m", "financehub_dagster.cli.supervisor.code_server", *options)
    url = f"grpc://{ports.HOST}:{port}"
    probe, needs = _asks(probes.code_server, url), (Database.name,)
    return Service("code-server", argv, lambda: ports.answers(port), url, probe=probe, needs=needs)


@dataclass(frozen=True)
class Pages:
    """How Dagster's pages are shown: on which address, and whether they can change anything."""

    host: str = ports.HOST
    read_only: bool = False

    @property
    def reached_at(self) -> str:
        """Where this machine reaches them; an address that stands for all of its own includes loopback."""
        host = ports.HOST if self.host in ("0.0.0.0", "::") else self.host
        return f"[{host}]" if ":" in host else host


def dagster_webserver(port: int, workspace: Path, pages: Pages) -> Service:
    """Dagster's pages; ready when they show the code location."""
    argv: tuple[str, ...] = (sys.executable, "-m", "dagster_webserver", "-h", pages.host, "-p", str(port))
    argv = (*argv, "-w", str(workspace), *(["--read-only"] if pages.read_only else []))
    url = f"http://{pages.reached_at}:{port}"
    needs = (Database.name, "code-server")
    return Service("webserver", argv, lambda: shows_code(url), url, probe=_asks(probes.webserver, url), needs=needs)


def daemon(workspace: Path) -> Service:
    """Schedules, sensors, the run queue, backfills and run monitoring."""
    argv = (sys.executable, "-m", "financehub_dagster.cli.daemon", "run", "-w", str(workspace))
    return Service("daemon", argv, probe=probes.Heartbeats, needs=(Database.name,))


def shows_code(url: str) -> bool:
    """Whether the code location is loaded; raises CommandError with the reason when it cannot be."""
    try:
        entries = probes.location_entries(probes.ask(url, probes.LOCATIONS))
    except probes.Trouble:
        return False
    for entry in entries:
        outcome = entry["locationOrLoadError"] or {}
        if outcome.get("__typename") == "PythonError" and entry["loadStatus"] == "LOADED":
            raise CommandError(probes.not_loaded(outcome))
    return bool(entries) and all(
        (entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation" for entry in entries
    )


def http_server(port: int) -> Service:
    """Health and metrics; nothing depends on it."""
    argv = (sys.executable, "-m", "financehub_dagster.serving", "--port", str(port))
    url = f"http://{ports.HOST}:{port}"
    return Service("serve", argv, url=url, probe=_asks(probes.http_server, url), essential=False)


def _asks(call: Callable[[str], None], url: str) -> Callable[[Callable[[], float]], probes.Probe]:
    return lambda _clock: partial(call, url)


def write_workspace(home: Home, port: int) -> Path:
    """The workspace file that leads webserver and daemon to the code server on `port`."""
    path = home.path / "workspace.yaml"
    whole_files.replace(
        path,
        "load_from:\n  - grpc_server:\n"
        f"      host: {ports.HOST}\n      port: {port}\n      location_name: {CODE_LOCATION}\n",
    )
    return path
