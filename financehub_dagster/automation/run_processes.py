"""Runs that the code server launches are forked from a process that has loaded what runs need.

Belongs here: how the process of such a run begins, and of work that a code server leaves to another process. Does not
belong here: what a run does, and runs that other launchers start.
"""

import ctypes
import errno
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from financehub_dagster.storage.database.embedded.cluster import MAX_SOCKET_PATH
from financehub_dagster.work_apart import leave_to

CODE_SERVER = ["api", "grpc"]
"""What Dagster's program is told where it is a code server."""
LOADED = ["financehub_dagster.definitions", "financehub_dagster.automation.loaded_once"]
"""What the process that runs are forked from imports."""
SOCKET = "runs.sock"
"""The name of its socket in the home of a platform."""
FORK_SECONDS = 20.0
"""How long a run waits for the system to have room for its process: Dagster waits a minute for it to begin."""
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


def is_code_server() -> bool:
    """Whether this process is one."""
    return sys.argv[1:3] == CODE_SERVER


def fork_runs() -> None:
    """Begin the runs of this code server as forks of one process, which starts with the first of them.

    Dagster starts a new Python for each, which imports for two seconds of CPU time before it works. There is no setting
    for that: it asks multiprocessing to "spawn".
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(LOADED)
    multiprocessing.get_context("spawn").Process = ForkServerProcess  # type: ignore[misc, assignment]
    leave_to(ForkServerProcess)


def fork_their_parent(home: Path) -> None:
    """Start the process that runs are forked from as a fork of this one: what is loaded is in memory once for both.

    To be called before `fork_runs`, and before this process has threads, connections or handlers of signals, which the
    fork would share. multiprocessing has no function for it: it starts a new Python, and does so again when the fork
    has died. Runs are asked for at a socket in `home`: temporary folders are tidied up. Raises OSError.
    """
    server: Any = forkserver._forkserver
    with socket.socket(socket.AF_UNIX) as listener:
        address = _address(home)
        before = os.umask(0o077)  # whoever may connect runs code
        try:
            listener.bind(address)
        finally:
            os.umask(before)
        listener.listen()
        ended, alive = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(alive)
            _serve(listener.detach(), ended)
        os.close(ended)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, alive, pid


def _address(home: Path) -> str:
    """Where nothing listens: in the home, or in a temporary folder where a socket in the home has too long a path."""
    path = home / SOCKET
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        temporary: str = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
        return temporary
    path.unlink(missing_ok=True)  # of a code server before this one
    return str(path)


def _serve(listener: int, ended: int) -> None:
    """Fork a run for whoever asks at `listener`, until the code server and all runs have ended. Does not return."""
    code = 1
    try:
        from financehub_dagster.automation import loaded_once

        loaded_once.show_output_to_nobody()
        os.register_at_fork(after_in_child=partial(_end_with, os.getpid()))
        os.fork = partial(_fork_when_possible, os.fork)
        forkserver.main(listener, ended, [])
    except SystemExit:
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _fork_when_possible(fork: Callable[[], int]) -> int:
    """Fork, also where the system refuses for a while; raises ConnectionAbortedError where it goes on to do so.

    multiprocessing's server goes on after that error alone. It would end with the one of a system that has no memory or
    processes left, and so would all runs.
    """
    until = time.monotonic() + FORK_SECONDS
    while True:
        try:
            pid = fork()
        except OSError as error:
            if time.monotonic() >= until:
                sys.stderr.write(f"a run cannot begin: {error.strerror}\n")
                raise ConnectionAbortedError(errno.ECONNABORTED, str(error)) from error
            time.sleep(FORK_SECONDS / 40)
        else:
            if pid == 0:
                os.fork = fork
            return pid


def _end_with(parent: int) -> None:
    """Let this process, a run, be told to end when `parent` has died: Dagster takes it for ended then. Linux only."""
    if sys.platform == "linux" and os.getppid() == parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
