"""The webserver of a platform with workers: launching runs there, and what they have stored.

Belongs here: orders to the webserver, and reading tables and states. Does not belong here: tests.
"""

from collections.abc import Sequence
from typing import Any

from financehub_dagster.ingest.partitions import range_tags
from financehub_dagster.operations import probes
from financehub_dagster_tests.faults.celery_machines import Site

TABLES = ("stock_prices_daily", "corporate_actions", "indicators_daily")
REPOSITORY = {"repositoryLocationName": "financehub", "repositoryName": "__repository__"}


class Webserver:
    """What a person does there."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        return probes.ask(self._url, query, 60, variables)

    def stop_what_starts_runs(self) -> None:
        """Every sensor and schedule, healing above all: only the runs of the test fetch anything."""
        found = self._ask(
            """query($of: RepositorySelector!) { repositoryOrError(repositorySelector: $of) { ... on Repository {
               sensors { sensorState { id status } } schedules { scheduleState { id status } } } } }""",
            of=REPOSITORY,
        )["repositoryOrError"]
        for kind, mutation in (("sensor", "stopSensor"), ("schedule", "stopRunningSchedule")):
            for each in found[f"{kind}s"]:
                state = each[f"{kind}State"]
                if state["status"] == "RUNNING":
                    done = self._ask(
                        f"mutation($id: String!) {{ {mutation}(id: $id) {{ __typename }} }}", id=state["id"]
                    )
                    assert not done[mutation]["__typename"].endswith("Error"), done

    def launch(self, symbols: Sequence[str], span: tuple[str, str], requests_per_second: float) -> str:
        """Queue a run over all tables for `symbols`, and return its id."""
        config = {name: {"config": {"symbols": list(symbols)}} for name in TABLES if name != "corporate_actions"}
        tags = range_tags(*span)
        params = {
            "selector": {
                **REPOSITORY,
                "jobName": "__ASSET_JOB",
                "assetSelection": [{"path": [name]} for name in TABLES],
            },
            "runConfigData": {
                "ops": config,
                "resources": {"yahoo": {"config": {"requests_per_second": requests_per_second}}},
            },
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        done = self._ask(
            """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
               __typename ... on LaunchRunSuccess { run { runId } } } }""",
            params=params,
        )["launchRun"]
        assert done["__typename"] == "LaunchRunSuccess", done
        return str(done["run"]["runId"])


def content(place: Site) -> dict[str, list[str]]:
    """Every row of the tables, but for the times at which they were fetched and computed."""
    rows = "select (to_jsonb(t) - 'fetched_at' - 'computed_at')::text from {} as t order by 1"
    return {name: [row for (row,) in place.rows(rows.format(name))] for name in TABLES}


def statuses(place: Site) -> dict[str, str]:
    """Dagster's word for the state of each run, by its id."""
    return dict(place.rows("select run_id, status from runs", dagster=True))
