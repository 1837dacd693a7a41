"""Dagster's daemon, which looks after backfills every few seconds.

Belongs here: what Dagster has no setting for. Does not belong here: how the daemon is started
(supervisor).
"""

from dagster._daemon import controller
from dagster._daemon.cli import cli

from financehub_dagster.garbage_collection import collect_seldom

BACKFILL_SECONDS = 5
"""How often backfills are looked after, instead of every 30 s.

A backfill takes a look to begin, and two to be cancelled: one ends its runs, the next sees that they have ended.
"""


def main() -> None:
    """Run the daemon as `dagster-daemon` does."""
    assert hasattr(controller, "DEFAULT_DAEMON_INTERVAL_SECONDS")
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = BACKFILL_SECONDS
    collect_seldom()
    cli()


if __name__ == "__main__":
    main()
