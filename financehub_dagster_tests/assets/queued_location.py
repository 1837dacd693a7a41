"""A code location with a job of each class, whose runs take no time."""

import dagster as dg

from financehub_dagster.automation.queues import PRIORITIES, queue_tags


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


defs = dg.Definitions(jobs=[*(of_class(queue) for queue in PRIORITIES), without_class], executor=dg.in_process_executor)
