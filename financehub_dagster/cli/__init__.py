"""The `financehub` command.

Belongs here: arguments, messages, and the processes of a running platform. Does not belong here: SQL, vendors, or
anything an asset needs. Command modules import what is heavy inside their functions: `--help` answers at once.
"""

import sys


def main() -> None:
    """Console script: run the command line and exit with 0 done, 1 failed, 2 wrong usage."""
    from financehub_dagster.cli.app import run

    sys.exit(run(sys.argv[1:]))
