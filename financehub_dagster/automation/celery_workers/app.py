"""The application that `financehub worker` has Celery run.

Belongs here: dagster-celery's tasks on our broker, and a worker that takes no work while it cannot reach the database.
Does not belong here: launching runs (`launcher`).
"""

import logging
import time
from typing import Any

import dagster as dg
from celery import Celery, bootsteps
from celery.worker.control import inspect_command
from dagster_celery.config import DEFAULT_CONFIG, TASK_EXECUTE_JOB_NAME
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_resume_job_task

from financehub_dagster.automation.celery_workers.delivery import QUEUE, claim, listen
from financehub_dagster.settings import SettingsError, get_settings
from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.creation import answers
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.upgrade import revisions
from financehub_dagster.storage.database.urls import market_url
from financehub_dagster.version import VERSION

CHECK_SECONDS = 10.0
"""How often a worker looks whether the database answers."""
ANSWER_SECONDS = 3.0

_logger = logging.getLogger("financehub.worker")


def broker_url() -> str:
    """The broker's address, password included; raises SettingsError where none is set."""
    secret = get_settings().financehub_broker_url
    if secret is None:
        raise SettingsError(
            "FINANCEHUB_BROKER_URL is not set: write redis://host:6379/0 or amqp://user:password@host//"
        )
    return secret.get_secret_value()


def backend_url(broker: str) -> str:
    """Where workers write the state of their tasks: the same Redis, or the AMQP broker itself."""
    return broker if broker.startswith(("redis://", "rediss://", "sentinel://")) else "rpc://"


def make() -> Celery:
    """Dagster's application on our broker."""
    broker = broker_url()
    app: Celery = make_app(  # type: ignore[no-untyped-call]
        {
            "broker": broker,
            "backend": backend_url(broker),
            "config_source": {**DEFAULT_CONFIG, "broker_connection_retry_on_startup": True},
            "task_default_queue": QUEUE,
        }
    )
    listen(app)
    app.task(execute_run, bind=True, name=TASK_EXECUTE_JOB_NAME, track_started=True, max_retries=None)
    create_resume_job_task(app)
    app.steps["consumer"].add(DatabaseWatch)
    return app


def execute_run(task: Any, execute_job_args_packed: Any) -> int:
    """Make a run, as dagster-celery's task does, unless it was made or is being made; returns 1 where it failed.

    A run that was taken just before the database went away goes back into the queue.
    """
    from dagster._cli.api import _execute_run_command_body
    from dagster._grpc.types import ExecuteRunArgs
    from dagster._serdes import unpack_value

    arguments: ExecuteRunArgs = unpack_value(execute_job_args_packed, as_type=ExecuteRunArgs)
    lack = problem()
    if lack is not None:
        raise task.retry(countdown=CHECK_SECONDS, queue=QUEUE, exc=DatabaseError(f"no runs until {lack}"))
    with dg.DagsterInstance.get() as instance:
        refusal = claim(instance, arguments.run_id, task.request.hostname)
        if refusal is not None:
            _logger.warning(f"run {arguments.run_id} was delivered again and is not made again: {refusal}")
            return 0
        return _execute_run_command_body(
            instance=instance,
            run_id=arguments.run_id,
            write_stream_fn=lambda _: None,
            set_exit_code_on_failure=True,
        )


@inspect_command(name="financehub_worker")  # type: ignore[untyped-decorator]
def tell(_state: Any) -> dict[str, str | float | None]:
    """The version and clock of this worker, and what has to change before it takes runs; for `financehub health`."""
    return {"version": VERSION, "problem": DatabaseWatch.problem, "clock": time.time()}


class DatabaseWatch(bootsteps.StartStopStep):  # type: ignore[misc]
    """Takes no runs from the queue while the database does not answer, or is at another revision than this program.

    They wait there for a worker that can.
    """

    problem: str | None = None
    """What has to change before this process takes runs; None while it takes them."""
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Look every CHECK_SECONDS, for as long as the worker has a connection to its broker."""
        self._timer = parent.timer.call_repeatedly(CHECK_SECONDS, self.look, (parent,))

    def stop(self, _parent: Any) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self, consumer: Any) -> None:
        """Stop or start taking runs, by whether the database answers and is at our revision."""
        lack, before = problem(), DatabaseWatch.problem
        if before is None and lack is not None:
            _logger.error(f"takes no runs until {lack}")
            consumer.call_soon(consumer.cancel_task_queue, QUEUE)
        elif before is not None and lack is None:
            _logger.warning("takes runs again: the database answers")
            consumer.call_soon(consumer.add_task_queue, QUEUE)
        DatabaseWatch.problem = lack


def problem() -> str | None:
    """What has to change before this worker can work; None if nothing has."""
    try:
        answers(market_url(), ANSWER_SECONDS)
        mismatch = revisions.mismatch(migrations.current())
    except (DatabaseError, TimeoutError) as error:
        return f"the database answers: {str(error) or 'it gives no answer'}"
    return None if mismatch is None else f"program and database fit: {mismatch}"


app = make()
