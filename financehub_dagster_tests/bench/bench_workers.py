"""A backfill split into runs by instruments, made by one, two and four Celery workers, against a vendor without limits.

Workers, broker, PostgreSQL and the sample market share this machine, so its cores bound what more workers can do: the
processor time of each says how far. The runs are those of `financehub backfill --parallel`, handed to the broker
directly: queue and webserver are left out.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from financehub_dagster_tests.fixtures.eventually import eventually

if TYPE_CHECKING:
    import dagster as dg

    from financehub_dagster_tests.faults.celery_machines import Site

TABLE, SPAN = "crypto_prices_daily", ("2023-01-01", "2024-12-01")
SESSIONS = 731
UNLIMITED = 1_000_000_000
WORKERS = (1, 2, 4)
LATENCIES_MS = (50.0, 1000.0)
"""How long the vendor takes for an answer: about as long as computing, and so long that runs mostly wait for it."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40 instruments instead of 200")
    instruments = 40 if parser.parse_args().quick else 200
    from financehub_dagster_tests.faults.celery_machines import site

    with tempfile.TemporaryDirectory(prefix="fh-") as folder, site(Path(folder), SPAN[0]) as place:
        os.environ.update(place.environment())
        import dagster as dg

        symbols = place.add_cryptos(instruments)
        place.sandbox.limit("binance", UNLIMITED)
        alone: dict[float, float] = {}
        with dg.DagsterInstance.get() as instance:
            for number in WORKERS:
                grow(place, instance, symbols, number)
                for latency in LATENCIES_MS:
                    place.sandbox.latency(latency)
                    seconds, line = measure(place, instance, symbols, number)
                    ratio = alone.setdefault(latency, seconds) / seconds
                    print(
                        f"{number} workers, answers after {latency:.0f} ms: {line}, {ratio:.2f}x one worker", flush=True
                    )


def grow(place: "Site", instance: "dg.DagsterInstance", symbols: Sequence[str], number: int) -> None:
    """Start workers until there are so many, each of which has imported the definitions, as it does with a run."""
    place.sandbox.latency(0)
    while len(place.machines) < number:
        name = f"worker{len(place.machines) + 1}"
        place.machine(name).work(name)
    _time(instance, [[symbol] for symbol in symbols[: 4 * number]])


def measure(place: "Site", instance: "dg.DagsterInstance", symbols: Sequence[str], number: int) -> tuple[float, str]:
    """Seconds that so many workers take for all instruments, and what to say about it."""
    from financehub_dagster.cli.platform_runs import split

    place.execute("truncate crypto_prices_daily")
    before = _processor_time(place)
    seconds = _time(instance, split(symbols, number))
    used = {part: after - before[part] for part, after in _processor_time(place).items()}
    [(rows,)] = place.rows("select count(*) from crypto_prices_daily")
    assert rows == len(symbols) * SESSIONS, rows
    busy = sum(used.values()) / seconds
    told = ", ".join(f"{part} {used[part]:.1f} s" for part in used)
    return seconds, f"{seconds:.1f} s, {rows / seconds:,.0f} rows/s, {busy:.2f} cores busy ({told})"


def _time(instance: "dg.DagsterInstance", groups: list[list[str]]) -> float:
    """Seconds until runs over these groups of instruments have succeeded."""
    from financehub_dagster_tests.faults.celery_machines import deliver, status

    began = time.monotonic()
    unlimited = {"binance": {"weight_per_minute": UNLIMITED}}
    runs = [deliver(instance, TABLE, SPAN, group, resources=unlimited) for group in groups]
    eventually(lambda: not {status(instance, run) for run in runs} & {"STARTING", "STARTED"}, 900)
    assert {status(instance, run) for run in runs} == {"SUCCESS"}
    return time.monotonic() - began


def _processor_time(place: "Site") -> dict[str, float]:
    """Seconds of processor time so far, by part."""
    server = int((place.server.home / "postgres" / "postmaster.pid").read_text().split()[0])
    sandbox = next(each.pid for each in psutil.Process().children() if "sandbox" in " ".join(each.cmdline()))
    workers = [process.pid for machine in place.machines for process in machine.started]
    return {"workers": _of(workers), "PostgreSQL": _of([server]), "vendor": _of([sandbox])}


def _of(pids: Sequence[int]) -> float:
    """Of these processes and all that they started, ended ones included."""
    roots = [psutil.Process(pid) for pid in pids]
    seconds = 0.0
    for process in [*roots, *(child for root in roots for child in root.children(recursive=True))]:
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])
    return seconds
