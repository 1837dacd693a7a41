"""From a schedule's tick to rows in the database, against the tick of an empty asset on the same instance.

Webserver, daemon and code server run as in a platform; the sample market answers without delay. A tick is evaluated in
the code server and its run launched through the webserver, so that both sides wait for the same queue. The queue is
looked at once a second, so a turn begins at a random moment of that second, and means over many turns are compared.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from financehub_dagster.cli import prepare
from financehub_dagster.cli.home import Home, Mode, enter
from financehub_dagster.cli.supervisor import ports, services
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.client import running_sandbox
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import embedded
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.urls import beside, libpq_url, market_url
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.bench.tick_location import EMPTY
from financehub_dagster_tests.fixtures.database import reset_engine
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.webserver import Webserver

LOCATION = "financehub_dagster_tests.bench.tick_location"
ETHER = Instrument("ETH", "Ethereum", AssetType.CRYPTO, "XXXX", aliases={"binance": "ETHUSDT"})
TICKS = {
    "fetch_crypto_quotes": "quotes",
    "fetch_binance_cryptos": "crypto_prices_daily",
    "calculate_indicators": "indicators_daily",
}
"""What is timed, and the table that gets rows; every tick finds the table empty."""
MATERIALIZED = """select min(extract(epoch from timestamp)) from event_logs
    where run_id = %s and dagster_event_type = 'ASSET_MATERIALIZATION'"""
ENDED = "select status, end_time from runs where run_id = %s and end_time is not null"


class Stack:
    """The running processes and both databases."""

    def __init__(self, server: Webserver, market: psycopg.Connection, dagster: psycopg.Connection) -> None:
        self.server = server
        self.market = market
        self.dagster = dagster

    def tick(self, job: str) -> tuple[float, float]:
        """Seconds from the tick of a job's schedule to its rows (an event where it has none), and to the run's end."""
        table = TICKS.get(job)
        if table is not None:
            self.market.execute(f"truncate {table} cascade")
        began = time.time()
        [request] = self.server.evaluate(f"{job}_schedule")["runRequests"]
        run = self.server.launch_tick(job, request)
        there: list[float] = []

        def stored() -> bool:
            if table is None:
                [(at,)] = self.dagster.execute(MATERIALIZED, [run]).fetchall()
                there[:] = [float(at)] if at is not None else []
            elif self.market.execute(f"select 1 from {table} limit 1").fetchall():
                there[:] = [time.time()]
            return bool(there)

        eventually(stored, 300)
        eventually(lambda: self.dagster.execute(ENDED, [run]).fetchall(), 300)
        [(status, end)] = self.dagster.execute(ENDED, [run]).fetchall()
        assert status == "SUCCESS", f"the run of {job} has failed"
        return there[0] - began, end - began


@contextmanager
def process(service: services.Service, logs: Path) -> Iterator[None]:
    """A part of the platform, from when it is ready on."""
    with (logs / f"{service.name}.log").open("w") as log:
        running = subprocess.Popen(service.argv, stdout=log, stderr=log, start_new_session=True)
        try:
            eventually(service.ready, 300, f"{service.name} does not start: {log.name}")
            yield
        finally:
            running.terminate()
            running.wait(60)


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """A platform with one crypto, three months of its bars, and our location in place of the product's."""
    home = Home(folder, folder / "dagster")
    home.prepare(Mode.SANDBOX)
    services.DEFINITIONS = LOCATION
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    with ExitStack() as parts, running_sandbox() as sandbox:
        start = (datetime.now(UTC).date() - timedelta(days=90)).replace(day=1)
        os.environ |= {**sandbox.environment, **sandbox.keys, "FINANCEHUB_HISTORY_START": str(start)}
        enter(home, Mode.SANDBOX)
        get_settings.cache_clear()
        prepare.migrate()
        with transaction() as connection:
            upsert_instruments(connection, [ETHER])
        code, web = ports.pick_free(), ports.pick_free()
        workspace = services.write_workspace(home, code)
        for service in (
            services.code_server(code),
            services.dagster_webserver(web, workspace, services.Pages()),
            services.daemon(workspace),
        ):
            parts.enter_context(process(service, folder))
        url = market_url()
        market = parts.enter_context(psycopg.connect(libpq_url(url), autocommit=True))
        dagster = parts.enter_context(psycopg.connect(libpq_url(beside(url)), autocommit=True))
        yield Stack(Webserver(f"http://{ports.HOST}:{web}"), market, dagster)
    reset_engine()
    embedded.release(home.path)


def main() -> None:
    """Print means and their ratios, in turns so that all sides meet the same neighbours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 turns instead of 30")
    turns = 5 if parser.parse_args().quick else 30
    found: dict[str, list[tuple[float, float]]] = {job: [] for job in (EMPTY, *TICKS)}
    with tempfile.TemporaryDirectory() as folder, chdir(folder), stack(Path(folder)) as running:
        for turn in range(turns + 1):
            for job, timed in found.items():
                time.sleep(random.random())
                seconds = running.tick(job)
                print(f"turn {turn}: {job} {seconds[0]:.2f} s, {seconds[1]:.2f} s", file=sys.stderr, flush=True)
                if turn:
                    timed.append(seconds)
    print("| tick of | to rows | ratio | to the run's end | ratio |\n|---|---|---|---|---|")
    for job, timed in found.items():
        cells = []
        for part in (0, 1):
            mean = statistics.mean(each[part] for each in timed)
            cells.append(f"{mean:.2f} s | {mean / statistics.mean(each[part] for each in found[EMPTY]):.2f}")
        print(f"| {job} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
