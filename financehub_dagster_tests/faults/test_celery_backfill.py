"""Two Celery workers share a backfill of 200 stocks; one is killed, and the tables end as after an undisturbed run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from financehub_dagster.automation.celery_workers.delivery import WORKER_TAG
from financehub_dagster.cli.platform_runs import split
from financehub_dagster.sandbox.calls import worst_window
from financehub_dagster_tests.faults.celery_backfills import content, launch, statuses
from financehub_dagster_tests.faults.celery_machines import SECONDS, Site, kill, site
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.webserver import Webserver

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

STOCKS, RUNS = 200, 4
FIRST, LAST = "2014-01-01", "2015-12-01"
PACED, ALLOWED = 8, 10
"""Requests per second: what the runs are told, and what the vendor refuses more of. The difference is for requests that
a busy machine holds up on their way."""
OPEN = "select * from coverage where (gap + dead_lettered + deferred) && daterange('2014-01-01', '2016-01-01')"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, FIRST, max_runs=RUNS) as place:
        yield place


def made_by(place: Site, worker: str) -> set[str]:
    """The runs in progress that a worker has claimed."""
    claimed = "select r.run_id from runs as r join run_tags as t using (run_id) where status = 'STARTED'"
    rows = place.rows(f"{claimed} and t.key = %s and t.value like %s", WORKER_TAG, f"{worker}@%", dagster=True)
    return {run_id for (run_id,) in rows}


def test_a_worker_killed_in_mid_backfill_changes_nothing_in_the_end(place: Site, count_cases) -> None:
    webserver = Webserver(place.platform.up())
    webserver.stop_what_starts_runs()
    symbols = place.add_stocks(STOCKS)
    place.sandbox.limit("yahoo", ALLOWED, 1.0)
    one, two = place.machine("one"), place.machine("two")
    killed, _ = one.work("one", "--concurrency", "2"), two.work("two", "--concurrency", "2")
    launched = [launch(webserver, group, (FIRST, LAST), PACED) for group in split(symbols, RUNS)]

    def shared_and_halfway() -> bool:
        [(stored,)] = place.rows("select count(distinct symbol) from stock_prices_daily")
        return stored >= STOCKS // 5 and bool(made_by(place, "one")) and bool(made_by(place, "two"))

    eventually(shared_and_halfway, SECONDS, "the workers never shared the backfill")
    lost = made_by(place, "one")
    kill(killed)
    [(stored,)] = place.rows("select count(distinct symbol) from stock_prices_daily")
    assert stored < STOCKS, "the kill came too late"
    assert lost, "the kill hit no run"
    eventually(lambda: list(statuses(place).values()).count("SUCCESS") == RUNS, SECONDS, f"{statuses(place)}")
    ended = statuses(place)
    assert {run_id for run_id, status in ended.items() if status == "FAILURE"} == lost <= set(launched)
    assert len(ended) == RUNS + len(lost), "each run that was lost is made once more, and nothing else is"

    calls = place.sandbox.calls("yahoo", detail=True)
    assert set(calls["by_status"]) == {"200"}, "the workers exceeded a limit together"
    assert worst_window([call["at"] for call in calls["calls"]], 10.0) <= PACED * 10 + 1
    disturbed = content(place)
    assert not place.rows(OPEN)
    assert not place.rows("select * from task_failures")

    place.execute("truncate stock_prices_daily, corporate_actions, indicators_daily")
    place.sandbox.limit("yahoo", 10_000, 1.0)
    launch(webserver, symbols, (FIRST, LAST), 1000)
    eventually(lambda: list(statuses(place).values()).count("SUCCESS") == RUNS + 1, SECONDS, f"{statuses(place)}")
    undisturbed = content(place)
    assert {name: len(rows) for name, rows in disturbed.items()} == {
        name: len(rows) for name, rows in undisturbed.items()
    }
    assert disturbed == undisturbed
    assert {json.loads(row)["symbol"] for row in undisturbed["indicators_daily"]} == set(symbols)
    count_cases("workers killed in mid-backfill")
