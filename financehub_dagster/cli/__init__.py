"""The `financehub` command.

Belongs here: arguments, messages, and the processes of a running platform. Does not belong here: SQL, vendors, or
anything an asset needs. Command modules import what is heavy inside their functions: `--help` answers at once.
"""

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from financehub_dagster.garbage_collection import collect_seldom


def main() -> None:
    """Console script: run the command line and exit with 0 done, 1 failed, 2 wrong usage."""
    # Containers often forbid to write bytecode. Every process would compile all it imports anew, several seconds of it.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    # A stream that the caller closed is None, and nothing can be written to it.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - to the end of the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    # A terminal or locale that has no character for a table's lines shows something in their place.
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")

    collect_seldom()

    from financehub_dagster.cli.app import run

    sys.exit(run(sys.argv[1:]))
