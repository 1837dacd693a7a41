"""What a person sees and does in the webserver, asked as its pages ask: schedules, sensors, their ticks, and runs.

Belongs here: GraphQL requests to a running platform. Does not belong here: tests, starting a platform.
"""

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

from financehub_dagster.cli.supervisor.services import CODE_LOCATION

PLACE = {"repositoryName": "__repository__", "repositoryLocationName": CODE_LOCATION}
ALL = """
query All($place: RepositorySelector!) { repositoryOrError(repositorySelector: $place) { ... on Repository {
    schedules { name scheduleState { status ticks(limit: 500) { status runIds skipReason error { message } } } }
    sensors { name sensorState { status ticks(limit: 500) { status runIds skipReason error { message } } } }
} } }
"""
EVALUATE = """
mutation Evaluate($schedule: ScheduleSelector!, $at: Float!) {
    scheduleDryRun(selectorData: $schedule, timestamp: $at) {
    __typename
    ... on DryRunInstigationTick { evaluationResult {
        error { message } skipReason runRequests { jobName runKey runConfigYaml tags { key value } }
    } }
} }
"""
LAUNCH = """
mutation Launch($run: ExecutionParams!) { launchPipelineExecution(executionParams: $run) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
} }
"""


@dataclass(frozen=True)
class Instigator:
    """A schedule or sensor: whether it is on, and its ticks, the newest first."""

    name: str
    on: bool
    ticks: list[dict[str, Any]]


class Webserver:
    """The webserver of a running platform."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The data that answer a query; an AssertionError where it has errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
        assert "errors" not in found, found["errors"]
        data: dict[str, Any] = found["data"]
        return data

    def instigators(self) -> tuple[list[Instigator], list[Instigator]]:
        """All schedules, and all sensors."""
        found = self.ask(ALL, place=PLACE)["repositoryOrError"]

        def read(kind: str, state: str) -> list[Instigator]:
            return [
                Instigator(each["name"], each[state]["status"] == "RUNNING", each[state]["ticks"])
                for each in found[kind]
            ]

        return read("schedules", "scheduleState"), read("sensors", "sensorState")

    def evaluate(self, schedule: str) -> dict[str, Any]:
        """What a tick of the schedule would do now: its error, skipReason or runRequests; nothing is launched."""
        found = self.ask(EVALUATE, schedule={**PLACE, "scheduleName": schedule}, at=time.time())["scheduleDryRun"]
        assert found["__typename"] == "DryRunInstigationTick", found
        result: dict[str, Any] = found["evaluationResult"]
        return result

    def launch(self, job: str, request: dict[str, Any] | None = None) -> str:
        """Launch a run of the job, as a tick's `request` has it; the run's id."""
        run: dict[str, Any] = {"selector": {**PLACE, "jobName": job}}
        if request is not None:
            tags = [{"key": tag["key"], "value": tag["value"]} for tag in request["tags"]]
            run |= {"runConfigData": request["runConfigYaml"], "executionMetadata": {"tags": tags}}
        found = self.ask(LAUNCH, run=run)["launchPipelineExecution"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["runId"])
