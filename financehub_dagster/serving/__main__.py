"""`python -m financehub_dagster.serving --port 8710`: the HTTP server as a process of its own.

Belongs here: its options. Does not belong here: the command for people, `financehub serve`.
"""

import argparse
import sys

from financehub_dagster.serving.guard import Unguarded
from financehub_dagster.serving.http import DEFAULT_PORT, HOST, PortTaken, serve


def main() -> int:
    """Serve until interrupted; exit code 1 and one line where that is impossible."""
    parser = argparse.ArgumentParser(prog="financehub_dagster.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    parser.add_argument("--host", default=HOST, help="where it listens")
    try:
        arguments = parser.parse_args()
        serve(arguments.port, host=arguments.host)
    except (PortTaken, Unguarded) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
