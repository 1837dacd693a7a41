"""Stopping a platform from outside of its supervisor.

Belongs here: `down`, and ending what a killed supervisor left. Does not belong here: how a supervisor stops its own
children.
"""

import time

import psutil

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home
from financehub_dagster.cli.supervisor.processes import (
    POLL_SECONDS,
    Leader,
    ask_to_end,
    end_sessions,
    let_go_on,
    members,
)
from financehub_dagster.cli.supervisor.state import State

PATIENCE = 45.0


def stop_platform(home: Home) -> list[str]:
    """End the supervisor, processes that a killed one left, and the embedded database; names what was running."""
    from financehub_dagster.storage.database import embedded

    stopped: list[str] = []
    server = embedded.status(home.path).pid
    if server is not None:
        let_go_on(server)
    state = State.read(home.state_file)
    if state is not None:
        stopped += _stop_supervisor(state)
        left = left_behind(state)
        end_sessions(left)
        stopped += [child.name for child in left]
        home.state_file.unlink(missing_ok=True)
    if embedded.stop(home.path):
        stopped.append("database")
    return stopped


def end_left_behind(home: Home, console: Console) -> None:
    """End and name the processes of a supervisor that was killed together with its guard; no supervisor may run.

    A daemon among them would go on beside the one that starts now, and its webserver keeps the port.
    """
    state = State.read(home.state_file)
    left = [] if state is None else left_behind(state)
    end_sessions(left)
    if left:
        names = ", ".join(child.name for child in left)
        console.warn(f"a platform was killed here and left {names}: these have been ended")


def left_behind(state: State) -> list[Leader]:
    """The children of a supervisor that has ended of which something still runs."""
    return [child for child in state.children if members([child])]


def _stop_supervisor(state: State) -> list[str]:
    supervisor = state.supervisor
    if not supervisor.alive():
        return []
    ask_to_end(psutil.Process(supervisor.pid))
    deadline = time.monotonic() + PATIENCE
    while supervisor.alive():
        if time.monotonic() > deadline:
            raise CommandError(
                f"process {supervisor.pid} does not end: `kill -9 {supervisor.pid}`, then `financehub down`"
            )
        time.sleep(POLL_SECONDS)
    return [supervisor.name, *(child.name for child in state.children)]
