"""The `financehub` command.

Belongs here: arguments, messages, and the processes of a running platform. Does not belong here: SQL, vendors, or
anything an asset needs. Command modules import what is heavy inside their functions: `--help` answers at once.
"""

import gc
import os
import sys


def main() -> None:
    """Console script: run the command line and exit with 0 done, 1 failed, 2 wrong usage."""
    # Containers often forbid to write bytecode. Every process would compile all it imports anew, several seconds of it.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    # Imports make a million objects, all of which stay: looking for garbage among them after every few hundred takes a
    # twelfth of the time of `financehub update`.
    gc.set_threshold(100_000, 50, 50)

    from financehub_dagster.cli.app import run

    sys.exit(run(sys.argv[1:]))
