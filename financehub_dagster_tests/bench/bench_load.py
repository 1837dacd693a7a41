"""Loading the code location, against a Dagster project of one empty asset.

Every run, tick and check pays this, in a new process each time. Both sides import their definitions, resolve the
repository and exit.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EMPTY = """
import dagster as dg

@dg.asset
def empty() -> None: ...

defs = dg.Definitions(assets=[empty])
"""
RESOLVE = "from {module} import defs; defs.get_repository_def()"


def cpu_seconds(module: str, folder: str) -> float:
    """User and system seconds of one new process that loads `module`, the measure least disturbed by neighbours."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", RESOLVE.format(module=module)], cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print CPU seconds and their ratio, in pairs so that both sides meet the same neighbours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 pairs instead of 9")
    pairs = 3 if parser.parse_args().quick else 9
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "empty_project.py").write_text(EMPTY)
        rows = []
        for attempt in range(pairs + 1):
            row = cpu_seconds("financehub_dagster.definitions", folder), cpu_seconds("empty_project", folder)
            if attempt:
                rows.append(row)
    ours, empty = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(a / b for a, b in rows)
    print(f"code location load: {ours:.2f} s CPU; one empty asset: {empty:.2f} s; ratio {ratio:.2f} (goal 1.3)")


if __name__ == "__main__":
    main()
