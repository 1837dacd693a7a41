"""A code location with a job of each class, whose runs take no time, and a launcher for them."""

from threading import Barrier, Lock

import dagster as dg
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher

from financehub_dagster.automation.queues import PRIORITIES, queue_tags

IN_TURN = Lock()
BOTH = Barrier(2)


class Launcher(SyncInMemoryRunLauncher):
    """Runs work in this process in turns; a run of `meeting` starts only while another one does."""

    def launch_run(self, context: LaunchRunContext) -> None:
        if context.dagster_run.job_name == "meeting":
            BOTH.wait(60)
        with IN_TURN:
            super().launch_run(context)


@dg.op
def nothing() -> None:
    """Nothing."""


def of_class(queue) -> dg.JobDefinition:
    @dg.job(name=queue, tags=queue_tags(queue))
    def made() -> None:
        nothing()

    return made


@dg.job
def without_class() -> None:
    nothing()


@dg.job
def meeting() -> None:
    nothing()


defs = dg.Definitions(
    jobs=[*(of_class(queue) for queue in PRIORITIES), without_class, meeting], executor=dg.in_process_executor
)
