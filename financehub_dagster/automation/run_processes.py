"""Runs that the code server launches are forked from a process that has loaded what runs need.

Belongs here: how the process of such a run begins, and of work that a code server leaves to another process. Does not
belong here: what a run does, and runs that other launchers start.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from financehub_dagster.work_apart import leave_to

CODE_SERVER = ["api", "grpc"]
"""What Dagster's program is told where it is a code server."""
LOADED = ["financehub_dagster.definitions", "financehub_dagster.automation.loaded_once"]
"""What the process that runs are forked from imports."""


def is_code_server() -> bool:
    """Whether this process is one."""
    return sys.argv[1:3] == CODE_SERVER


def fork_runs() -> None:
    """Begin the runs of this code server as forks of one process, which starts now as a fork of the code server.

    Dagster starts a new Python for each, which imports for two seconds of CPU time before it works. There is no setting
    for that: it asks multiprocessing to "spawn". To be called while the code server loads the definitions: what it has
    loaded by then is in memory once for itself and all runs. A process that has threads cannot be forked safely; there,
    and when the process has died, multiprocessing starts it as a new Python with the next run.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(LOADED)
    multiprocessing.get_context("spawn").Process = ForkServerProcess  # type: ignore[misc, assignment]
    leave_to(ForkServerProcess)
    if threading.active_count() == 1:
        resource_tracker.ensure_running()
        start_program = util.spawnv_passfds
        util.spawnv_passfds = _fork  # type: ignore[assignment]
        try:
            forkserver.ensure_running()
        finally:
            util.spawnv_passfds = start_program


def _fork(_program: bytes, arguments: Sequence[Any], passed: Sequence[int]) -> int:
    """Have a fork of this process do what `arguments` tell a new Python, with the files `passed`; returns its number.

    multiprocessing tells it by `-c` and one statement.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _let_go_of_files({0, 1, 2, *passed})
        exec(arguments[-1], {})
        code = 0
    except SystemExit:  # the code server and all runs have ended
        code = 0
    except BaseException:  # noqa: BLE001 - there is nobody above to tell
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _let_go_of_files(kept: set[int]) -> None:
    """Make all others of the forked process lead nowhere: sockets and connections are the code server's alone.

    Their numbers stay taken, so that what believes to own one cannot close a file that was opened later.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in [int(file.name) for file in Path("/dev/fd").iterdir()]:
        if number not in kept and number != nowhere:
            try:
                os.fstat(number)
            except OSError:
                continue  # it was the list's own
            os.dup2(nowhere, number, inheritable=False)
