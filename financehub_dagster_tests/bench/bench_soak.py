"""The whole platform left alone: CPU, memory and disk of all its processes over an hour or more (`make soak`).

`financehub up --sandbox` with the default universe, 50 stocks and 20 cryptos, and every schedule and sensor on.
Sampling begins when the first fetch is over. CPU is that of every process, ended ones included, as a share of one core;
memory is the proportional set size, in which shared pages count once, at the end of each interval and the most that was
seen in it, while runs work. The sandbox is part of no platform and is listed apart.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil

from financehub_dagster.cli.supervisor.processes import members
from financehub_dagster.storage.database import embedded
from financehub_dagster_tests.end_to_end.platform_process import Platform
from financehub_dagster_tests.fixtures.eventually import eventually

MINUTES, QUICK_MINUTES = 60.0, 3.0
INTERVAL_MINUTES = 5.0
"""Between two rows of the table; a twelfth of the time where that is less than an hour."""
LOOK_SECONDS = 5.0
"""Between two looks at memory alone: runs take seconds."""
MB = 1e6
GOALS = {"CPU": "25 % of a core", "memory": "1,200 MB", "disk": "0.3 MB an hour net of data"}


@dataclass(frozen=True)
class Sample:
    """A look at a running platform: seconds of CPU so far, bytes, and runs that have ended."""

    at: float
    cpu: dict[str, float]
    memory: dict[str, int]
    disk: dict[str, int]
    runs: int
    scrape: float


def seconds(processes: Iterable[psutil.Process]) -> float:
    """CPU seconds of these processes and of their descendants that have ended."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def pages(processes: Iterable[psutil.Process]) -> int:
    """Bytes of memory of these processes, shared ones divided among those that share them."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


class Soak:
    """A platform in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.platform = Platform(folder)
        start = (datetime.now(UTC) - timedelta(days=40)).date().replace(day=1)
        (folder / ".env").write_text(f"FINANCEHUB_HISTORY_START={start}\n")
        self.started = self.platform.up()

    def settled(self) -> bool:
        """Whether the first fetch is over: nothing is missing, and nothing runs."""
        rows = self.platform.rows(
            "select count(*), count(*) filter (where gap <> '{}') from coverage where table_name <> 'indicators_daily'"
        )
        busy = self.platform.rows("select count(*) from runs where status in ('QUEUED', 'STARTED')", dagster=True)
        return rows[0][0] >= 70 and rows[0][1] == 0 and busy[0][0] == 0

    def groups(self) -> dict[str, list[psutil.Process]]:
        """The processes by part."""
        state = self.platform.state()
        found = {child.name: members([child]) for child in state.children}
        supervisor = psutil.Process(state.supervisor.pid)
        children = [p for p in psutil.process_iter(["ppid", "cmdline"]) if p.info["ppid"] == supervisor.pid]
        guards = [p for p in children if "guard" in " ".join(p.info["cmdline"] or ())]
        found["supervisor"] = [supervisor, *guards]
        server = embedded.status(self.platform.home.path).pid
        found["postgres"] = [] if server is None else [psutil.Process(server), *psutil.Process(server).children()]
        return found

    def most_memory(self, seconds: float) -> int:
        """Wait, and return the most bytes that the platform had meanwhile."""
        until, most = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            most = max(most, sum(pages(own) for name, own in self.groups().items() if name != "sandbox"))
            time.sleep(max(0.0, min(LOOK_SECONDS, until - time.monotonic())))
        return most

    def sample(self) -> Sample:
        """Look once."""
        groups = self.groups()
        began = time.perf_counter()
        with urlopen(f"{self.started['serve']}/metrics") as response:
            response.read()
        scrape = time.perf_counter() - began
        [(market,)] = self.platform.rows("select pg_database_size(current_database())")
        [(dagster, runs)] = self.platform.rows(
            "select pg_database_size(current_database()), count(*) from runs where status in ('SUCCESS', 'FAILURE')",
            dagster=True,
        )
        home = self.platform.home
        disk = {
            "market database": market,
            "Dagster's database": dagster,
            "logs": folder_bytes(home.logs) + folder_bytes(home.dagster),
        }
        cpu = {name: seconds(own) for name, own in groups.items()}
        memory = {name: pages(own) for name, own in groups.items()}
        return Sample(time.monotonic(), cpu, memory, disk, runs, scrape)


def row(first: Sample, last: Sample) -> str:
    """The figures between two samples as a line of the table."""
    passed = last.at - first.at
    cpu = sum(last.cpu[name] - first.cpu.get(name, 0.0) for name in last.cpu if name != "sandbox") / passed
    memory = sum(size for name, size in last.memory.items() if name != "sandbox")
    growth = [(last.disk[name] - first.disk[name]) / passed * 3600 / MB for name in last.disk]
    cells = [f"{cpu:.0%}", f"{memory / MB:,.0f}", *(f"{each:+.1f}" for each in growth), f"{last.runs - first.runs}"]
    return " | ".join([*cells, f"{last.scrape * 1000:.0f}"])


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=MINUTES, help=f"how long ({MINUTES:g})")
    length.add_argument("--quick", action="store_const", dest="minutes", const=QUICK_MINUTES, help="three minutes")
    minutes = parser.parse_args().minutes
    samples = max(12, round(minutes / INTERVAL_MINUTES))
    folder = Path(tempfile.mkdtemp(prefix="financehub-soak-"))
    soak = Soak(folder)
    try:
        eventually(soak.settled, 1800, "the first fetch did not end within half an hour")
        first = before = soak.sample()
        names = [*(f"{name} MB/h" for name in first.disk), "runs", "scrape ms"]
        print(f"| minute | most memory MB | CPU of a core | memory MB | {' | '.join(names)} |")
        print("|---" * (4 + len(names)) + "|", flush=True)
        most = []
        for number in range(1, samples + 1):
            most.append(soak.most_memory(minutes * 60 / samples))
            now = soak.sample()
            print(f"| {minutes / samples * number:.1f} | {most[-1] / MB:,.0f} | {row(before, now)} |", flush=True)
            before = now
        print(f"| all | {max(most) / MB:,.0f} | {row(first, before)} |")
        passed = before.at - first.at
        for name in sorted(before.cpu, key=lambda name: -before.memory[name]):
            share = (before.cpu[name] - first.cpu.get(name, 0.0)) / passed
            print(f"{name:<12} {share:6.1%} of a core, {before.memory[name] / MB:5.0f} MB")
        print(f"load average {psutil.getloadavg()[1]:.1f}; goals: {json.dumps(GOALS)}")
        print(f"health: {health(str(soak.started['serve']))}")
    finally:
        soak.platform.end()
        shutil.rmtree(folder, ignore_errors=True)


def health(url: str) -> str:
    """What is not ok at the end."""
    try:
        with urlopen(f"{url}/health") as response:
            found = json.load(response)
    except HTTPError as error:
        found = json.load(error)
    bad = {name: each["detail"] for name, each in found["components"].items() if each["status"] != "ok"}
    return f"{found['status']} {bad or ''}".strip()


if __name__ == "__main__":
    main()
