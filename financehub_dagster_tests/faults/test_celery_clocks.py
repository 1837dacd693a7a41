"""Workers whose clocks are a minute off: limits hold, nothing is stored twice or left out, and health names them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from financehub_dagster.operations import driving
from financehub_dagster_tests.faults.celery_machines import SECONDS, Site, deliver, site_of_this_process, status
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.shifted_clock import clock_ahead

MINUTE = 60
FIRST, LAST, SESSIONS = "2024-01-01", "2024-06-01", 124
STOCKS = 12
PACED, ALLOWED = 8, 10
"""Requests per second: what the runs are told, and what the vendor refuses more of."""

RESERVE = """
import time
from financehub_dagster.storage.rate_limits import limiter
from financehub_dagster.storage.database.engine import market_engine
limit = limiter.Limit("hammer", 40, 1.0)
for _ in range(40):
    print(limiter.reserve(market_engine(), "vendor", "ip", (limit,), max_wait=1e6).due)
"""
CLAIM = "from financehub_dagster.operations import driving; print(repr(driving.claim('yours')))"


def processes(database: Database, folder: Path, *programs: tuple[int, str]) -> list[str]:
    """What each program prints, all run at once, each with its clock so many seconds ahead."""
    made = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | {"FINANCEHUB_DATABASE_URL": database.url} | clock_ahead(folder, ahead),
            stdout=subprocess.PIPE,
            text=True,
        )
        for ahead, program in programs
    ]
    told = [process.communicate(timeout=120)[0] for process in made]
    assert [process.returncode for process in made] == [0] * len(made)
    return told


def test_clocks_a_minute_off_share_one_limit_and_one_claim(database, tmp_path):
    programs = [(ahead, RESERVE) for ahead in (-MINUTE, 0, MINUTE)]
    due = sorted(float(line) for told in processes(database, tmp_path, *programs) for line in told.split())
    assert len(due) == 120
    # By the monotonic clock, which all processes of a machine share.
    assert min(later - sooner for sooner, later in pairwise(due)) > 0.5 / 40
    assert due[-1] - due[0] >= 119 / 40
    assert driving.claim("mine") is None
    refused = processes(database, tmp_path, *((ahead, CLAIM) for ahead in (-MINUTE, MINUTE)))
    assert [told.split("'")[1] for told in refused] == ["mine", "mine"]
    with database.engine.begin() as connection:
        connection.exec_driver_sql("update daemons set seen_at = seen_at - interval '40 seconds'")
    assert processes(database, tmp_path, (-MINUTE, CLAIM)) == ["None\n"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site_of_this_process(tmp_path, FIRST) as place:
        yield place


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_workers_whose_clocks_are_a_minute_off_store_what_one_worker_stores(place, tmp_path, count_cases):
    symbols = place.add_stocks(STOCKS)
    place.sandbox.limit("yahoo", ALLOWED, 1.0)
    for name, ahead in (("behind", -MINUTE), ("ahead", MINUTE)):
        machine = place.machine(name)
        machine.variables |= clock_ahead(tmp_path, ahead)
        machine.work(name)
    found = json.loads(place.platform.run("health", "--json", code=1))["components"]["workers"]
    assert found["status"] == "degraded"
    for name, by in (("ahead", "ahead of"), ("behind", "behind")):
        assert any(
            f"the clock of {name}@" in told and f"s {by} this machine's" in told for told in found["detail"].split("; ")
        )

    paced = {"yahoo": {"requests_per_second": PACED}}
    halves = symbols[: STOCKS // 2], symbols[STOCKS // 2 :]
    with dg.DagsterInstance.get() as instance:
        runs = [
            deliver(instance, "stock_prices_daily", (FIRST, LAST), group, resources=paced)
            for group in (*halves, symbols)
        ]
        eventually(lambda: [status(instance, each) for each in runs] == ["SUCCESS"] * 3, SECONDS)
    assert set(place.sandbox.calls("yahoo")["by_status"]) == {"200"}, "the workers exceeded a limit together"
    stored = dict(place.rows("select symbol, count(*) from stock_prices_daily group by 1"))
    assert stored == dict.fromkeys(symbols, SESSIONS)
    for table in ("task_failures", "deferred_work", "price_revisions", "rejected_rows"):
        assert place.rows(f"select count(*) from {table}") == [(0,)], table
    ledger = json.loads(place.platform.run("gaps", "--json", "--rebuild", "--table", "stock_prices_daily"))
    assert ledger["rebuilt"] == 0
    count_cases("clocks a minute off")
