"""A process that outlives its supervisor only to end what the supervisor left behind.

Belongs here: nothing else. The supervisor holds the other end of the pipe on our stdin and writes each child it starts
to it, one JSON line each. When the supervisor ends, however it ends, the pipe closes; what then still runs is ended:
the children, and the embedded database of the home (our argument) unless someone else uses it.
"""

import json
import signal
import sys
from pathlib import Path

from financehub_dagster.cli.signals import STOP_SIGNALS
from financehub_dagster.cli.supervisor.processes import Leader, end_sessions


def main() -> None:
    """Read children until the supervisor is gone, then end what is left."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    leaders = [Leader.read(json.loads(line)) for line in sys.stdin]
    end_sessions(leaders)
    _let_go_of_database(Path(sys.argv[1]))


def _let_go_of_database(home: Path) -> None:
    from financehub_dagster.storage.database import embedded

    if embedded.status(home).running:
        # The last holder stops the server: hold it for a moment, in case that its last holder was killed.
        embedded.ensure_running(home)
        embedded.release(home)


if __name__ == "__main__":
    main()
