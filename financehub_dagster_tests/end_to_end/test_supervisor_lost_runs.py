"""What a platform that starts finds of an earlier one: runs that were going, and where its schedules were."""

import io
import json
import socket

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.storage.tags import GRPC_INFO_TAG

from financehub_dagster.automation.failures import lost_runs
from financehub_dagster.automation.failures.lost_runs import fail_lost_runs
from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.home import Home, Mode
from financehub_dagster.cli.supervisor import leftovers, ports
from financehub_dagster.cli.supervisor.leftovers import move_instigators
from financehub_dagster.cli.supervisor.services import CODE_LOCATION


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


def test_runs_of_a_code_server_that_is_gone_fail_and_all_others_are_left_alone(instance, monkeypatch):
    monkeypatch.setattr(lost_runs, "ASK_SECONDS", 1)  # which one that lives and says nothing is given
    with socket.create_server((ports.HOST, 0)) as server:
        living = started(instance, on(server.getsockname()[1]))
        lost = started(instance, on(ports.pick_free()))
        by_hand = started(instance, {})
        elsewhere = started(instance, {GRPC_INFO_TAG: json.dumps({"host": "10.0.0.9", "port": 4000})})
        assert fail_lost_runs(instance) == [lost]
    status = {run.run_id: run.status for run in instance.get_runs()}
    assert status.pop(lost) is dg.DagsterRunStatus.FAILURE
    assert status == dict.fromkeys((living, by_hand, elsewhere), dg.DagsterRunStatus.STARTED)


def test_what_is_left_is_settled_in_a_process_of_its_own_and_named(instance, monkeypatch):
    lost = started(instance, on(ports.pick_free()))
    messages = io.StringIO()
    leftovers.settle(Console(messages=messages), ports.pick_free())
    assert f"run {lost[:8]} was cut off when the platform stopped" in messages.getvalue()
    found = instance.get_run_by_id(lost)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.FAILURE
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(CommandError, match=r"left cannot be settled: .*127\.0\.0\.1:1.*start the server") as caught:
        leftovers.settle(Console(messages=messages), ports.pick_free())
    assert "\n" not in str(caught.value)


def test_schedules_are_known_to_be_at_the_new_port_of_their_code(instance):
    def at(port: int, location: str) -> RemoteInstigatorOrigin:
        code = GrpcServerCodeLocationOrigin(host=ports.HOST, port=port, location_name=location)
        return RemoteInstigatorOrigin(RemoteRepositoryOrigin(code, "__repository__"), "daily")

    data = ScheduleInstigatorData(cron_schedule="@daily", start_timestamp=1.0)
    for location in (CODE_LOCATION, "of_somebody_else"):
        instance.add_instigator_state(
            InstigatorState(at(4001, location), InstigatorType.SCHEDULE, InstigatorStatus.STOPPED, data)
        )
    move_instigators(instance, 4002)
    states = instance.all_instigator_state()
    assert {state.origin for state in states} == {at(4002, CODE_LOCATION), at(4001, "of_somebody_else")}
    assert {(state.status, state.instigator_data) for state in states} == {(InstigatorStatus.STOPPED, data)}
