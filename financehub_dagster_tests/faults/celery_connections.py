"""Sessions of every process of a platform and six Celery workers, on a server that allows 40 (`max_connections`).

Belongs here: what both a test and a measurement need. Does not belong here: either of them.
"""

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

from financehub_dagster.automation.celery_workers.delivery import WORKER_TAG
from financehub_dagster_tests.faults.celery_machines import site
from financehub_dagster_tests.fixtures.database import DatabaseServer

ALLOWED = 40
WORKERS = 6
STOCKS = 12
SESSIONS = """
    select client_port, datname from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()
"""
MADE = "select count(distinct split_part(value, '@', 1)) from run_tags where key = %s"
KINDS = {
    "dagster_webserver": "webserver",
    "cli.daemon": "daemon",
    "celery_workers.app": "a worker and its run",
    "cli worker": "a worker and its run",
    "supervisor.code_server": "code server",
    "financehub_dagster.serving": "health and metrics",
    "cli backfill": "financehub backfill",
    "cli up": "supervisor",
    "financehub_dagster.cli ": "other commands",
}
"""Words of a command line, and what such a process is."""


class Sampler:
    """The most sessions that were seen: in all, and of one process of each kind in each database.

    workers: how many of them made runs.
    """

    def __init__(self, server: DatabaseServer) -> None:
        self.most: dict[tuple[str, str], int] = {}
        self.total = 0
        self.workers = 0
        self._server = server
        self._done = threading.Event()
        self._kinds: dict[int | None, str] = {}
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _go_on(self) -> None:
        address = self._server.address.set(drivername="postgresql")
        with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as connection:
            while not self._done.wait(0.1):
                self._look(connection.execute(SESSIONS).fetchall())

    def _look(self, sessions: list[tuple[int, str]]) -> None:
        found = psutil.net_connections("tcp")
        port = self._server.address.port
        owners = {each.laddr.port: each.pid for each in found if each.raddr and each.raddr.port == port}
        self.total = max(self.total, len(sessions))
        counts = Counter((owners[port], database) for port, database in sessions if owners.get(port) is not None)
        for (pid, database), count in counts.items():
            key = (self._kind(pid), "Dagster's storage" if str(database).endswith("_dagster") else "market")
            self.most[key] = max(self.most.get(key, 0), count)

    def _kind(self, pid: int | None) -> str:
        if pid not in self._kinds:
            words = ""
            with suppress(psutil.Error):
                words = " ".join(psutil.Process(pid).cmdline())
            self._kinds[pid] = next((kind for word, kind in KINDS.items() if word in words), words[:60])
        return self._kinds[pid]


def measure(folder: Path, months: tuple[str, str]) -> Sampler:
    """Start a platform and its workers, and have each make runs of a backfill while schedules and sensors tick.

    Raises AssertionError where one of the runs failed.
    """
    with site(folder, f"{months[0]}-01", WORKERS + 1, connections=ALLOWED) as place, Sampler(place.server) as sampler:
        symbols = place.add_stocks(STOCKS)
        place.platform.up()
        for number in range(WORKERS):
            name = f"worker{number + 1}"
            place.machine(name).work(name)
        place.sandbox.latency(300)
        span = ["--from", months[0], "--to", months[1], "--symbols", ",".join(symbols), "--parallel", str(WORKERS)]
        place.platform.run("backfill", "stock_prices_daily", *span, timeout=900)
        [(sampler.workers,)] = place.rows(MADE, WORKER_TAG, dagster=True)
    return sampler
