"""A process that outlives its supervisor only to end what the supervisor left behind.

Belongs here: nothing else. The supervisor holds the other end of the pipe on our stdin and writes each child it starts
to it, one JSON line each. When the supervisor ends, however it ends, the pipe closes and the children are ended.
"""

import json
import signal
import sys

from financehub_dagster.cli.processes import Leader, end_sessions


def main() -> None:
    """Read children until the supervisor is gone, then end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    leaders = [Leader(**json.loads(line)) for line in sys.stdin]
    end_sessions(leaders)


if __name__ == "__main__":
    main()
