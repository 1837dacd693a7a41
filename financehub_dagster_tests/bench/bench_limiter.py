"""The shared limiter: slots handed out per second, against one bare UPDATE of the same row, and the worst window.

The floor moves one row in a transaction of its own over the same engine: what any limiter that lives in PostgreSQL
has to pay. The worst second is counted over the slots that four processes were given at 100 per second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORKER = """
import sys, time
import sqlalchemy as sa
from financehub_dagster.storage import limits
from financehub_dagster.storage.engine import market_engine

what, seconds = sys.argv[1], float(sys.argv[2])
limit = limits.Limit("bench", 100 if what == "paced" else 1_000_000, 1.0)
floor = sa.text(
    "UPDATE rate_limits SET tat = clock_timestamp()"
    " FROM (SELECT set_config('synchronous_commit', 'off', true)) AS quick"
    " WHERE provider = 'floor' RETURNING 1"
)

def grant():
    limits.reserve(market_engine(), "bench", what, (limit,), max_wait=1e9)

def update():
    with market_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(floor).one()

step = update if what == "floor" else grant
limits.hold(market_engine(), what, "ip", (limit,), 0.0)
for _ in range(20):
    step()
print("ready", flush=True)
sys.stdin.readline()
done, until = 0, time.monotonic() + seconds
while time.monotonic() < until:
    if what == "paced":
        slot = limits.reserve(market_engine(), "bench", what, (limit,), max_wait=60.0)
        time.sleep(slot.wait)
        print(time.time())
    else:
        step()
        done += 1
if what != "paced":
    print(done)
"""


@contextmanager
def database() -> Iterator[None]:
    """A migrated database on an embedded server of its own, for this process's children."""
    from financehub_dagster.storage import embedded, migrations
    from financehub_dagster.storage.engine import reset_engine

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


def run(what: str, processes: int, seconds: float) -> list[float]:
    """What the workers printed, having started together."""
    command = [sys.executable, "-c", WORKER, what, str(seconds)]
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


def worst_second(times: list[float]) -> int:
    """The most instants within any window of a second."""
    ordered, first, worst = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= 1.0:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def main() -> None:
    """Print grants per second, their ratio to the floor, and the worst second of a paced run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 seconds each instead of 10")
    seconds = 2.0 if parser.parse_args().quick else 10.0
    with database():
        for processes in (1, 4):
            floor = sum(run("floor", processes, seconds)) / seconds
            ours = sum(run("free", processes, seconds)) / seconds
            print(
                f"{processes} process(es): {ours:,.0f} slots/s; one bare UPDATE: {floor:,.0f}/s; "
                f"ratio {ours / floor:.2f}"
            )
        times = run("paced", 4, seconds)
        print(f"100/s shared by 4 processes: {len(times) / seconds:.0f}/s used, worst second {worst_second(times)}")


if __name__ == "__main__":
    main()
