"""Runs the benchmarks one after the other: `make bench`, or `python -m financehub_dagster_tests.bench writer load`.

Belongs here: finding the `bench_*.py` modules beside this file, running each `main()` in a process of its own so that
none inherits another's warm caches, and keeping what they print as Markdown. Does not belong here: any measurement.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PREFIX = "bench_"
LONG = frozenset({"soak"})
"""Benchmarks that run only when they are named: an hour each."""
REPORTED_PACKAGES = ("dagster", "sqlalchemy", "psycopg", "pandas", "numpy", "TA-Lib", "numba")


def benchmarks(folder: Path = HERE) -> list[str]:
    """Names of the benchmarks in the folder, in alphabetical order: `writer` for `bench_writer.py`."""
    return sorted(path.stem.removeprefix(PREFIX) for path in folder.glob(f"{PREFIX}*.py"))


def run(name: str, *options: str) -> tuple[int, str]:
    """Run one benchmark's `main()`, echoing it line by line; returns its exit code and all it printed."""
    program = f"from importlib import import_module; import_module('{__package__}.{PREFIX}{name}').main()"
    lines = []
    with subprocess.Popen(
        [sys.executable, "-c", program, *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def machine() -> str:
    """One line that says what the figures were measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in REPORTED_PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, {packages}"
    )


def markdown(results: dict[str, str]) -> str:
    """The benchmarks' output as a page for `docs/`: one section each, under a line that names the machine."""
    sections = [f"## {name.replace('_', ' ')}\n\n```text\n{output.strip()}\n```" for name, output in results.items()]
    return "\n\n".join([f"# Benchmarks\n\nMeasured by `make bench` on {machine()}.", *sections]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all; the exit code is 1 if any of them failed, after all have run."""
    known = benchmarks()
    named_only = ", ".join(sorted(LONG))
    parser = argparse.ArgumentParser(prog="make bench", description="Run the benchmarks and print their ratios.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of: {', '.join(known)} (default: all but {named_only})",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and run none")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, rougher figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what was printed as a page for docs/")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(known)}")
    if options.list:
        print("\n".join(known))
        return 0

    results, failed = {}, []
    for name in options.names or [name for name in known if name not in LONG]:
        print(f"== {name}", flush=True)
        code, results[name] = run(name, *(["--quick"] if options.quick else []))
        if code:
            failed.append(name)
    if options.markdown:
        options.markdown.write_text(markdown(results), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
