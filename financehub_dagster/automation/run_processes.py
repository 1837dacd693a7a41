"""Runs that the code server launches are forked from a process that has loaded what runs need.

Belongs here: how the process of such a run begins, and of work that a code server leaves to another process. Does not
belong here: what a run does, and runs that other launchers start.
"""

import multiprocessing
import sys
from multiprocessing.context import ForkServerProcess

from financehub_dagster.work_apart import leave_to

CODE_SERVER = ["api", "grpc"]
"""What Dagster's program is told where it is a code server."""


def is_code_server() -> bool:
    """Whether this process is one."""
    return sys.argv[1:3] == CODE_SERVER


def fork_runs() -> None:
    """Begin the runs of this code server as forks of one process, which starts with the first of them.

    Dagster starts a new Python for each, which imports for two seconds of CPU time before it works. There is no setting
    for that: it asks multiprocessing to "spawn".
    """
    preloaded = ["financehub_dagster.definitions", "financehub_dagster.automation.loaded_once"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(preloaded)
    multiprocessing.get_context("spawn").Process = ForkServerProcess  # type: ignore[misc, assignment]
    leave_to(ForkServerProcess)
