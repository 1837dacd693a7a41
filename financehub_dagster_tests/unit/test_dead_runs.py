"""A code server of Dagster's whose storage is away while a run dies."""

import logging
import multiprocessing
import threading
import time
from pathlib import Path

import dagster as dg
from dagster._core.instance import InstanceRef
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._grpc.server import DagsterApiServer

from financehub_dagster.automation.dead_runs import keep_looking
from financehub_dagster_tests.fixtures.eventually import eventually


@dg.op
def nothing() -> None: ...


@dg.job
def empty_job() -> None:
    nothing()


def test_runs_that_died_are_found_after_the_storage_was_away(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(DagsterApiServer, "_check_for_orphaned_runs", DagsterApiServer._check_for_orphaned_runs)
    keep_looking()
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run = instance.create_run_for_job(empty_job, status=dg.DagsterRunStatus.STARTED)
    storage, away = tmp_path / "history", tmp_path / "away"
    storage.rename(away)
    storage.touch()
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=[600])
    process.start()
    process.kill()
    process.join()
    threads = FuturesAwareThreadPoolExecutor(1)
    server = DagsterApiServer(threading.Event(), logging.getLogger("code server"), threads)
    try:
        with server._execution_lock:
            server._executions[run.run_id] = process, InstanceRef.from_dir(str(tmp_path))  # type: ignore[assignment]
            server._termination_events[run.run_id] = multiprocessing.Event()
        eventually(lambda: "runs that died cannot be looked for" in caplog.text, 20.0)
        storage.unlink()
        away.rename(storage)
        eventually(lambda: not server._executions, 20.0, "the code server looks for dead runs no more")
    finally:
        server._server_termination_event.set()
        server.cleanup()
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.FAILURE
