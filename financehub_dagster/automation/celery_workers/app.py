"""The application that `financehub worker` has Celery run.

Belongs here: dagster-celery's tasks on our broker, and a worker that takes no work while it cannot reach the database.
Does not belong here: launching runs (`launcher`).
"""

import logging
from typing import Any

from celery import Celery, bootsteps
from dagster_celery.config import DEFAULT_CONFIG
from dagster_celery.defaults import task_default_queue
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from financehub_dagster.settings import SettingsError, get_settings
from financehub_dagster.storage.database import migrations, revisions
from financehub_dagster.storage.database.creation import answers
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.urls import market_url

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
            "task_default_queue": task_default_queue,
        }
    )
    create_execute_job_task(app)
    create_resume_job_task(app)
    app.steps["consumer"].add(DatabaseWatch)
    return app


class DatabaseWatch(bootsteps.StartStopStep):  # type: ignore[misc]
    """Takes no runs from the queue while the database does not answer, or is at another revision than this program.

    They wait there for a worker that can.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.taking = True
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
        lack = problem()
        if self.taking and lack is not None:
            _logger.error(f"takes no runs until {lack}")
            consumer.call_soon(consumer.cancel_task_queue, task_default_queue)
        elif not self.taking and lack is None:
            _logger.warning("takes runs again: the database answers")
            consumer.call_soon(consumer.add_task_queue, task_default_queue)
        self.taking = lack is None


def problem() -> str | None:
    """What has to change before this worker can work; None if nothing has."""
    try:
        answers(market_url(), ANSWER_SECONDS)
        mismatch = revisions.mismatch(migrations.current())
    except (DatabaseError, TimeoutError) as error:
        return f"the database answers: {str(error) or 'it gives no answer'}"
    return None if mismatch is None else f"program and database fit: {mismatch}"


app = make()
