"""Runs that were going when the machine went down."""

import json
import socket

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from financehub_dagster.automation.failures.lost_runs import fail_lost_runs
from financehub_dagster.cli.home import Home, Mode
from financehub_dagster.cli.supervisor import ports


@dg.op
def nothing() -> None: ...


@dg.job
def empty_job() -> None:
    nothing()


@pytest.fixture
def instance(database, dagster_database, folder, monkeypatch):
    home = Home(folder, folder / "dagster")
    home.prepare(Mode.LIVE)
    monkeypatch.setenv("DAGSTER_HOME", str(home.dagster))
    with dg.DagsterInstance.get() as instance:
        yield instance


def started(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    return instance.create_run_for_job(empty_job, status=dg.DagsterRunStatus.STARTED, tags=tags).run_id


def on(port: int) -> dict[str, str]:
    return {GRPC_INFO_TAG: json.dumps({"host": ports.HOST, "port": port})}


def test_runs_of_a_code_server_that_is_gone_fail_and_all_others_are_left_alone(instance):
    with socket.create_server((ports.HOST, 0)) as server:
        living = started(instance, on(server.getsockname()[1]))
        lost = started(instance, on(ports.pick_free()))
        by_hand = started(instance, {})
        elsewhere = started(instance, {GRPC_INFO_TAG: json.dumps({"host": "10.0.0.9", "port": 4000})})
        assert fail_lost_runs(instance) == [lost]
    status = {run.run_id: run.status for run in instance.get_runs()}
    assert status.pop(lost) is dg.DagsterRunStatus.FAILURE
    assert status == dict.fromkeys((living, by_hand, elsewhere), dg.DagsterRunStatus.STARTED)
