"""The launcher that dagster.yaml names where FINANCEHUB_RUN_LAUNCHER=celery.

Belongs here: telling a run whose worker is gone from one that works. Does not belong here: the workers (`app`).

dagster-celery believes the state that a worker wrote last: a run whose worker was killed counts as running for ever,
and all runs count as lost when the broker has forgotten its states. Here the workers themselves are asked.
"""

from collections import Counter
from typing import Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from financehub_dagster.automation.celery_workers.delivery import listen

ASK_SECONDS = 3.0
"""How long all workers have for their answers."""
MISSES = 3
"""Looks in a row, ten seconds apart, at which no worker has a run before it counts as lost."""


class FinanceHubCeleryLauncher(CeleryRunLauncher):
    """dagster-celery's launcher, which asks the workers whether they still have a run."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        listen(self.celery)
        self._misses: Counter[str] = Counter()

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Running while a worker has it, or nobody can say; failed once no worker has had it for MISSES looks."""
        from kombu.exceptions import OperationalError

        task = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        try:
            found = self._is_active(task)
        except (OperationalError, OSError) as error:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"the broker does not answer: {error}")
        if found:
            self._misses.pop(run.run_id, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        self._misses[run.run_id] += 1
        if self._misses[run.run_id] < MISSES:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no worker says that it has this run")
        del self._misses[run.run_id]
        return CheckRunHealthResult(WorkerStatus.FAILED, "no worker has this run: the one that had it has ended")

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run as Ctrl-C does, so that it ends its transaction and its dead letters are written."""
        run = self._instance.get_run_by_id(run_id)
        task = None if run is None else run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if run is None or task is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        self.celery.control.revoke(task, terminate=True, signal="SIGINT")
        return True

    def _is_active(self, task: str | None) -> bool:
        """Whether a worker runs `task`, or has taken it from the queue."""
        inspector = self.celery.control.inspect(timeout=ASK_SECONDS)
        told = [*(inspector.active() or {}).values(), *(inspector.reserved() or {}).values()]
        return any(each["id"] == task for tasks in told for each in tasks)
