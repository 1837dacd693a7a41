"""`python -m financehub_dagster.sandbox`: the sandbox as a process of its own.

Belongs here: the few options that the process starter needs. Does not belong here: the command for people, `financehub
sandbox`.
"""

import argparse
import sys

from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.server import DEFAULT_PORT, serve


def main() -> int:
    """Serve until interrupted; exit code 1 and one line where that is impossible."""
    parser = argparse.ArgumentParser(prog="financehub_dagster.sandbox", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    asked = parser.parse_args()
    try:
        serve(
            asked.host,
            asked.port,
            latency_ms=asked.latency_ms,
            announce=_tell,
            until_stdin_closes=asked.until_stdin_closes,
        )
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _tell(address: str) -> None:
    """The starter reads this line from a pipe, so it must not wait in a buffer."""
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
