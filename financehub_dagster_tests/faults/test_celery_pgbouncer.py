"""A platform and two workers behind PgBouncer in transaction mode: a migration, and runs of one table at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from financehub_dagster_tests.faults.celery_backfills import content, launch, statuses
from financehub_dagster_tests.faults.celery_machines import SECONDS, Site, site
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.pgbouncer import left_behind
from financehub_dagster_tests.fixtures.webserver import Webserver

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

FIRST, LAST = "2024-01-01", "2024-12-01"
STOCKS, SESSIONS = 40, 252
PACED, ALLOWED = 8, 10
"""Requests per second: what the runs are told, and what the vendor refuses more of."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, FIRST, max_runs=4, pooled=True) as place:
        yield place


def test_runs_of_one_table_at_once_store_what_one_run_stores(place: Site, count_cases) -> None:
    webserver = Webserver(place.platform.up())
    webserver.stop_what_starts_runs()
    symbols = place.add_stocks(STOCKS)
    place.sandbox.limit("yahoo", ALLOWED, 1.0)
    for name in ("one", "two"):
        place.machine(name).work(name, "--concurrency", "2")
    halves = symbols[: STOCKS // 2], symbols[STOCKS // 2 :]
    for group in (*halves, symbols, symbols[:10]):
        launch(webserver, group, (FIRST, LAST), PACED)
    eventually(lambda: list(statuses(place).values()).count("SUCCESS") == 4, SECONDS, f"{statuses(place)}")
    assert set(place.sandbox.calls("yahoo")["by_status"]) == {"200"}, "the workers exceeded a limit together"
    assert not place.rows("select * from task_failures")
    together = content(place)
    assert len(together["stock_prices_daily"]) == len(together["indicators_daily"]) == STOCKS * SESSIONS
    place.platform.run("health")
    for name in ("market", "market_dagster"):
        assert left_behind(place.address.set(database=name)) == set()

    place.execute("truncate stock_prices_daily, corporate_actions, indicators_daily")
    place.sandbox.limit("yahoo", 10_000, 1.0)
    launch(webserver, symbols, (FIRST, LAST), 1000)
    eventually(lambda: list(statuses(place).values()).count("SUCCESS") == 5, SECONDS, f"{statuses(place)}")
    assert content(place) == together
    count_cases("backfills behind PgBouncer")
