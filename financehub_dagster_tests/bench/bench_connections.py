"""Connections of every process of a platform and six Celery workers, on a server that allows 40 (`max_connections`).

Each session of the server is traced by its port to the process behind it, ten times a second, from the start of the
platform to the end of a backfill that keeps all six workers at work while schedules and sensors tick.
"""

import argparse
import tempfile
from pathlib import Path


def main() -> None:
    """Print the table of docs/database.md."""
    from financehub_dagster_tests.faults.celery_connections import ALLOWED, measure

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one year instead of two")
    months = ("2014-01", "2014-12" if parser.parse_args().quick else "2015-12")
    with tempfile.TemporaryDirectory() as folder:
        sampler = measure(Path(folder), months)
    print("| process | market database | Dagster's storage |\n|---|---|---|")
    for kind in sorted({kind for kind, _ in sampler.most}):
        each = [sampler.most.get((kind, database), 0) for database in ("market", "Dagster's storage")]
        print(f"| {kind} | {each[0]} | {each[1]} |")
    print(f"in all at most {sampler.total} of {ALLOWED}")
