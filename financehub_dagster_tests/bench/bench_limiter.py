"""The shared limiter: grants per second against one bare UPDATE, and the worst windows of processes that hammer.

The floor moves one row of the same table over a bare driver connection of each process, its statement prepared: what
any limiter that lives in PostgreSQL has to pay. The windows are counted over the instants at which eight processes
would have sent, at 5 a second and 25 a day.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PER_SECOND, PER_DAY = 5, 25
THREADS = 8

WORKER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from financehub_dagster.gateway.throttle import keep_slot
from financehub_dagster.storage.rate_limits import gateway_connection, limiter
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster.storage.rate_limits.quotas import Quota

what, seconds, threads = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
engine = market_engine()
fast = limiter.Limit("fast", 10_000_000, 1.0)
minute = Quota("minute", 100_000_000, period=60.0)
second, day = limiter.Limit("second", 5, 1.0), Quota("day", 25, period=86_400.0)
limiter.hold(engine, "bench", what, (fast,), 0.0)

def floor():
    connection.execute(
        "UPDATE rate_limits SET tat = clock_timestamp() WHERE provider = %s AND scope = %s AND limit_name = %s"
        " RETURNING 1", ("bench", "floor", "fast"), prepare=True,
    ).fetchone()

def one():
    limiter.reserve(engine, "bench", "one", (fast,), max_wait=1e9)

def several():
    limiter.reserve(engine, "bench", "several", (fast, second_fast), (minute,), max_wait=1e9)

def slot_of(*quotas):
    return limiter.reserve(engine, "bench", what, (second,), quotas, max_wait=60.0)

def paced():
    keep_slot(slot_of(), (second,), slot_of)
    print(time.time())

def daily():
    slot = slot_of(day)
    if slot.granted:
        keep_slot(slot, (second,), slot_of)
        print(time.time())

second_fast = limiter.Limit("second_fast", 10_000_000, 1.0)
connection = gateway_connection._connection(engine).connection
step = {"floor": floor, "one": one, "several": several, "paced": paced, "daily": daily}[what]
counted = what in ("floor", "one", "several")
for _ in range(20 if counted else 0):
    step()
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + seconds

def work(_):
    done = 0
    while time.monotonic() < until:
        step()
        done += 1
    return done

with ThreadPoolExecutor(threads) as pool:
    done = sum(pool.map(work, range(threads)))
if counted:
    print(done)
"""


@contextmanager
def database() -> Iterator[None]:
    """A migrated database on an embedded server of its own, for this process's children."""
    from financehub_dagster.storage.database import embedded, migrations
    from financehub_dagster_tests.fixtures.database import reset_engine

    with tempfile.TemporaryDirectory(prefix="fh-", ignore_cleanup_errors=True) as folder:
        os.environ["FINANCEHUB_HOME"] = folder
        os.environ.pop("FINANCEHUB_DATABASE_URL", None)
        try:
            migrations.upgrade()
            yield
        finally:
            reset_engine()
            embedded.release(Path(folder))
            embedded.stop(Path(folder))


def run(what: str, processes: int, seconds: float, threads: int = 1) -> list[float]:
    """What the workers printed, having started together."""
    command = [sys.executable, "-c", WORKER, what, str(seconds), str(threads)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    outputs = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        output, _ = worker.communicate(timeout=600)
        outputs += [float(line) for line in output.splitlines()]
    return outputs


def most_within(times: list[float], seconds: float) -> int:
    """The most instants within any window of this length."""
    ordered, first, worst = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= seconds:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def main() -> None:
    """Print grants per second, their ratio to the floor, and the worst windows of eight processes that hammer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 and 5 seconds instead of 10 and 60")
    quick = parser.parse_args().quick
    seconds, hammered = (2.0, 5.0) if quick else (10.0, 60.0)
    with database():
        for processes in (1, 4):
            floor = sum(run("floor", processes, seconds)) / seconds
            one = sum(run("one", processes, seconds)) / seconds
            abreast = sum(run("one", processes, seconds, THREADS)) / seconds
            several = sum(run("several", processes, seconds)) / seconds
            print(
                f"{processes} process(es): one limit {one:,.0f} grants/s, ratio to a bare UPDATE ({floor:,.0f}/s) "
                f"{one / floor:.2f}; {THREADS} threads in each, as a fetch has, {abreast:,.0f} grants/s, ratio "
                f"{abreast / floor:.2f}; two limits and a quota {several:,.0f}/s, ratio {several / floor:.2f}"
            )
        paced = run("paced", 8, hammered)
        worst = most_within(paced, 1.0)
        print(
            f"8 processes for {hammered:.0f} s at {PER_SECOND}/s: {len(paced)} granted "
            f"({len(paced) / hammered / PER_SECOND:.2f} of the limit), worst second {worst}, "
            f"{max(worst - PER_SECOND, 0)} over"
        )
        daily = run("daily", 8, hammered)
        worst = most_within(daily, 86_400.0)
        print(f"8 processes at {PER_DAY}/day: {len(daily)} granted, {max(worst - PER_DAY, 0)} over")


if __name__ == "__main__":
    main()
