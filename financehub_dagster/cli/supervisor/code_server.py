"""The code server of `financehub up`: Dagster's, whose runs are forked from a process that shares what it has loaded.

Belongs here: the order in which it begins. Does not belong here: its options (services), and how runs are forked
(automation.run_processes).
"""

import sys
from importlib import import_module

from financehub_dagster.automation.dead_runs import keep_looking
from financehub_dagster.automation.run_processes import CODE_SERVER, fork_runs, fork_their_parent
from financehub_dagster.garbage_collection import collect_regularly
from financehub_dagster.settings import get_settings


def main() -> None:
    """Run `dagster api grpc` with the options of this process."""
    from dagster._cli import main as dagster

    try:
        load_and_fork()
    except Exception as error:  # noqa: BLE001 - Dagster loads the code again, and shows why it does not load
        print(f"runs are not forked: {error}", file=sys.stderr, flush=True)
    sys.argv = ["dagster", *CODE_SERVER, *sys.argv[1:]]
    dagster()  # type: ignore[no-untyped-call]


def load_and_fork() -> None:
    """Load the code while nothing else has begun, and fork the process that runs are forked from where there are any.

    Raises whatever loading the code raises.
    """
    for name in ("dagster._cli.api", "dagster._grpc.server", "financehub_dagster.definitions"):
        import_module(name)
    settings = get_settings()
    if settings.financehub_run_launcher == "local":
        fork_their_parent(settings.home)
    fork_runs()
    keep_looking()
    collect_regularly()


if __name__ == "__main__":
    main()
