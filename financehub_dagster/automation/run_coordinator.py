"""The run coordinator that dagster.yaml names: Dagster's queue, with a class for runs that no job of ours makes.

Belongs here: which class such a run has. Does not belong here: the classes themselves (`queues`).

A backfill from the webserver is made of runs of Dagster's own implicit job, which has no tags to declare a class with.
"""

from typing import Any

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import BACKFILL_ID_TAG

from financehub_dagster.automation.queues import QUEUE_TAG, queue_tags


class FinanceHubRunCoordinator(QueuedRunCoordinator[Any]):
    """Queues every run under a class: a backfill's is low, what a person launches without one is default."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Give the run its class, then queue it; a priority that somebody chose for it stays."""
        run = context.dagster_run
        if QUEUE_TAG not in run.tags:
            tags = queue_tags("low" if BACKFILL_ID_TAG in run.tags else "default")
            self._instance.add_run_tags(run.run_id, {**tags, **run.tags})
        return super().submit_run(context)
