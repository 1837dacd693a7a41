"""Which queue a version's runs wait in, and that each run is made once, however often a broker delivers it.

Belongs here: names and claims, without Celery. Does not belong here: the worker (`app`) and the launcher (`launcher`).

Dagster refuses a run that is over or in progress. It reads the state before it imports the definitions, though, which
takes seconds: two deliveries at the same moment would both be made.
"""

from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import DagsterRunStatus

from financehub_dagster.version import VERSION

QUEUE = f"financehub-{VERSION}"
"""Workers of another version listen to another queue, and so take none of this version's runs."""
WORKER_TAG = "financehub/worker"
"""On a run: the worker that makes it, and the first eight characters of the run's id.

A run that is started again carries the tags of the first one, whose id is another.
"""


def listen(app: Any) -> None:
    """Have a Celery application send runs to this version's queue, and take them from there alone.

    dagster-celery names its own queue both where it sends and where it listens, whatever it is told.
    """
    from dagster_celery.config import TASK_EXECUTE_JOB_NAME, TASK_RESUME_JOB_NAME
    from kombu.entity import Queue

    app.conf.task_queues = [Queue(QUEUE, routing_key=f"{QUEUE}.#", queue_arguments={"x-max-priority": 10})]  # type: ignore[no-untyped-call]
    app.conf.task_routes = {
        name: {"queue": QUEUE, "routing_key": f"{QUEUE}.{name}"}
        for name in (TASK_EXECUTE_JOB_NAME, TASK_RESUME_JOB_NAME)
    }


def claim(instance: dg.DagsterInstance, run_id: str, worker: str) -> str | None:
    """Note on the run that `worker` makes it; returns why it may not: it is over, or a worker has it."""
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.database.locks import lock_name

    with transaction() as connection:
        lock_name(connection, run_id)
        run = instance.get_run_by_id(run_id)
        if run is None:
            return "it was deleted"
        if run.status not in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING):
            return f"it is {run.status.value.lower()} already"
        has, _, whose = run.tags.get(WORKER_TAG, "").rpartition(" ")
        if whose == run_id[:8]:
            return f"{has} has it"
        instance.add_run_tags(run_id, {WORKER_TAG: f"{worker} {run_id[:8]}"})
    return None
