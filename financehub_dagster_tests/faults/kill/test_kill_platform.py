"""A whole platform killed in the middle of a backfill: started again, it ends with the tables of an undisturbed run."""

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from financehub_dagster.automation.failures.lost_runs import UNFINISHED
from financehub_dagster.cli.supervisor.processes import members
from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.webserver import Webserver

pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]

TABLES = ("stock_prices_daily", "corporate_actions")
FINAL_SECONDS = 120.0
HEALED_SECONDS = 600.0
CANCELLED_SECONDS = 15.0


PROCESS = """select event::json -> 'dagster_event' ->> 'pid' from event_logs
    where run_id = %s and dagster_event_type = 'STEP_START'"""
ROOT = "select value from run_tags where run_id = %s and key = 'dagster/root_run_id'"


class Backfilling(Platform):
    """A platform with a few months of history, and what it has stored."""

    def prepare(self) -> list[str]:
        """Write its settings; returns its finished months."""
        last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
        first = (last.replace(day=1) - timedelta(days=40)).replace(day=1)
        (self.folder / ".env").write_text(f"FINANCEHUB_HISTORY_START={first}\n")
        months = [first]
        while (following := (months[-1] + timedelta(days=32)).replace(day=1)) <= last:
            months.append(following)
        return [month.isoformat() for month in months]

    def stored(self) -> list[tuple]:
        """Every row of the backfilled tables, but for when it was made."""
        return self.rows(
            "select 'bar', symbol, date, open, high, low, close, volume, source from stock_prices_daily"
            " where date < date_trunc('month', now())"
            " union all select kind, symbol, date, value, 0, 0, 0, 0, source from corporate_actions"
            " where date < date_trunc('month', now()) order by 1, 2, 3"
        )

    def lacking(self) -> list[tuple]:
        """What the ledger does not call stored or empty in the backfilled tables."""
        return self.rows(
            "select symbol, gap, dead_lettered, deferred from coverage where table_name = 'stock_prices_daily'"
            " and (gap + dead_lettered + deferred) && daterange(null, date_trunc('month', now())::date)"
        )

    def empty(self) -> None:
        """Forget all bars and actions."""
        with psycopg.connect(self.url()) as connection:
            connection.execute("truncate stock_prices_daily, corporate_actions")

    def run_statuses(self) -> dict[str, str]:
        """The state of each of Dagster's runs."""
        return dict(self.rows("select run_id, status from runs", dagster=True))


@pytest.fixture
def platform(tmp_path) -> Iterator[Backfilling]:
    platform = Backfilling(tmp_path)
    yield platform
    platform.end()


def in_the_middle(platform: Backfilling) -> bool:
    """Whether some of the backfill is stored and some is not."""
    return bool(platform.stored()) and bool(platform.lacking())


def assert_ends_as_if_undisturbed(platform: Backfilling, months: list[str]) -> None:
    """Wait until nothing is lacking, and compare with a backfill that nothing disturbs."""
    eventually(lambda: not platform.lacking(), HEALED_SECONDS)
    healed = platform.stored()
    platform.empty()
    for table in TABLES:
        done = platform.run("backfill", table, "--from", months[0], "--to", months[-1], "--json", timeout=300)
        assert done.returncode == 0, done.stderr
    assert platform.stored() == healed
    assert healed


def test_a_platform_killed_in_mid_backfill_ends_with_the_same_tables(platform, count_cases):
    months = platform.prepare()
    platform.up()
    before = platform.state()
    Webserver(platform.state().urls["webserver"]).backfill(TABLES, months)
    eventually(lambda: in_the_middle(platform), HEALED_SECONDS)
    going_on = [run for run, status in platform.run_statuses().items() if status in {s.value for s in UNFINISHED}]
    assert going_on
    assert platform.process is not None
    with platform.process as killed:
        killed.kill()
    eventually(lambda: platform.nothing_left(before))
    platform.up()
    ended = {"SUCCESS", "FAILURE", "CANCELED"}
    eventually(lambda: {platform.run_statuses()[run] for run in going_on} <= ended, FINAL_SECONDS)
    assert_ends_as_if_undisturbed(platform, months)
    count_cases("platforms killed in mid-backfill")


def test_an_update_whose_run_is_killed_follows_the_one_that_takes_its_place(platform, count_cases):
    platform.prepare()
    started = platform.up()
    Sandbox(str(started["sandbox"])).fault("slow", vendor="yahoo", seconds=120)
    with platform.beside("update", "AAPL", "--json") as update:
        eventually(lambda: platform.update_runs("STARTED"), FINAL_SECONDS)
        [lost] = platform.update_runs("STARTED")
        eventually(lambda: platform.rows(PROCESS, lost, dagster=True), FINAL_SECONDS)
        [(pid,)] = platform.rows(PROCESS, lost, dagster=True)
        Sandbox(str(started["sandbox"])).clear_faults()
        os.kill(int(pid), signal.SIGKILL)
        told, _ = update.communicate(timeout=FINAL_SECONDS)
    done = json.loads(told)
    assert (update.returncode, done["success"]) == (0, True)
    assert [lost] == [root for (root,) in platform.rows(ROOT, done["run_id"], dagster=True)]
    count_cases("runs of update killed")


def test_a_daemon_killed_in_mid_backfill_costs_nothing(platform, count_cases):
    months = platform.prepare()
    platform.up()
    [daemon] = [child for child in platform.state().children if child.name == "daemon"]
    Webserver(platform.state().urls["webserver"]).backfill(TABLES, months)
    eventually(lambda: in_the_middle(platform), HEALED_SECONDS)
    os.kill(daemon.pid, signal.SIGKILL)
    eventually(lambda: not members([daemon]), FINAL_SECONDS)
    assert_ends_as_if_undisturbed(platform, months)
    count_cases("daemons killed in mid-backfill")


def test_a_backfill_of_215_months_is_cancelled_within_15_seconds(platform, count_cases):
    """Its run waits for a vendor that takes its time; the daemon looks after backfills every five seconds."""
    months = [f"{2009 + number // 12}-{number % 12 + 1:02d}-01" for number in range(215)]
    (platform.folder / ".env").write_text("FINANCEHUB_HISTORY_START=2009-01-01\n")
    started = platform.up()
    Sandbox(str(started["sandbox"])).latency(8000)
    server = Webserver(str(started["url"]))
    backfill = server.backfill(TABLES, months)
    tagged = (
        "select r.status from runs r join run_tags t using (run_id) where t.key = 'dagster/backfill' and t.value = %s"
    )
    eventually(lambda: platform.rows(tagged, backfill, dagster=True) == [("STARTED",)], FINAL_SECONDS)
    asked = Sandbox(str(started["sandbox"])).calls("yahoo")["total"]
    eventually(lambda: Sandbox(str(started["sandbox"])).calls("yahoo")["total"] > asked, FINAL_SECONDS)
    server.cancel(backfill)
    eventually(lambda: server.backfill_status(backfill) == "CANCELED", CANCELLED_SECONDS)
    assert platform.rows(tagged, backfill, dagster=True) == [("CANCELED",)]
    count_cases("backfills cancelled")
