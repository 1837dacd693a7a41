"""The processes of a running platform: how each is started, and how one knows that it works.

Belongs here: command lines and readiness. Does not belong here: supervising them.
Webserver and daemon share one code server, so that the code is imported once.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from financehub_dagster.cli import ports, probes, whole_files
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home

CODE_LOCATION = "financehub"
DEFINITIONS = "financehub_dagster.definitions"


def nothing_to_wait_for() -> bool:
    """The readiness of a process that serves nobody."""
    return True


@dataclass(frozen=True)
class Service:
    """One process: its command line, whether it is ready (raises CommandError when it never will be), its address."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool] = nothing_to_wait_for
    url: str | None = None
    ready_within: float = 120.0


def sandbox(port: int) -> Service:
    """The sample market."""
    argv = (sys.executable, "-m", "financehub_dagster.sandbox", "--host", ports.HOST, "--port", str(port))
    url = f"http://{ports.HOST}:{port}"
    return Service("sandbox", argv, lambda: probes.responds(f"{url}/_control/faults"), url)


def code_server(port: int) -> Service:
    """The code location; it launches runs as its own children."""
    options = ("-m", DEFINITIONS, "-h", ports.HOST, "-p", str(port), "--location-name", CODE_LOCATION)
    argv = (sys.executable, "-m", "dagster", "code-server", "start", *options, "--log-level", "warning")
    return Service("code-server", argv, lambda: ports.answers(port), f"grpc://{ports.HOST}:{port}")


def dagster_webserver(port: int, workspace: Path) -> Service:
    """Dagster's pages; ready when they show the code location."""
    argv = (sys.executable, "-m", "dagster_webserver", "-h", ports.HOST, "-p", str(port), "-w", str(workspace))
    url = f"http://{ports.HOST}:{port}"
    return Service("webserver", argv, lambda: probes.shows_code(url), url)


def daemon(workspace: Path) -> Service:
    """Schedules, sensors, the run queue, backfills and run monitoring."""
    return Service("daemon", (sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)))


def write_workspace(home: Home, port: int) -> Path:
    """The workspace file that leads webserver and daemon to the code server on `port`."""
    path = home.path / "workspace.yaml"
    whole_files.replace(
        path,
        "load_from:\n  - grpc_server:\n"
        f"      host: {ports.HOST}\n      port: {port}\n      location_name: {CODE_LOCATION}\n",
    )
    return path


def require_free(port: int) -> None:
    """Raise CommandError when the webserver could not listen on `port`."""
    if not 0 < port < 65536 or not ports.is_free(port):
        raise CommandError(f"port {port} is taken: stop what listens there, or choose another one with --port")
