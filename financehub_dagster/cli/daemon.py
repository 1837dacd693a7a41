"""Dagster's daemon: drives only while it holds the claim on the database, looks after backfills often, logs changes.

Belongs here: what Dagster has no setting for. Does not belong here: how the daemon is started
(supervisor).
"""

import logging
import os
import re
import sys
import threading
from typing import NoReturn

from dagster._daemon import controller
from dagster._daemon.cli import cli

from financehub_dagster.garbage_collection import collect_regularly, collect_seldom

BACKFILL_SECONDS = 5
"""How often backfills are looked after, instead of every 30 s.

A backfill takes a look to begin, and two to be cancelled: one ends its runs, the next sees that they have ended.
"""

READ_ANEW_SECONDS, FAILING_SECONDS = 600, 300
"""How often the daemon reads the whole code location anew, instead of every 60 s, and for how long it may fail to.

A thread of Dagster's asks the code server each second whether it is the same, and reads a changed one at once. Reading
one that is the same takes a third of a second, and leaves a second copy of 85,000 objects in memory for a while.
"""

LOOKED = re.compile(
    r"Checking |Evaluating schedule |Collected \d|Priority sorting|Prefetching |Done prefetching|Tick produced 0 runs"
    r"|Submitting 0 runs|Finished auto-materialization tick"
)
"""How Dagster's messages begin that say only that it looked whether there is something to do."""

_logger = logging.getLogger("financehub.daemon")


class SayOnce(logging.Filter):
    """Passes what happened, and once why nothing did, until the reason is another one.

    Dagster's daemon looks every 30 seconds, for every sensor, and writes 7 MB a day about nothing to do. Its ticks, in
    the webserver, show each look.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reasons: dict[str, str] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is written; warnings and errors always are."""
        if record.levelno > logging.INFO:
            return True
        message = record.getMessage()
        of, skipped, reason = message.partition(" skipped: ")
        if not skipped:
            return LOOKED.match(message) is None
        reason = re.sub(r"\d+", "0", reason)
        said = self._reasons.get(of)
        self._reasons[of] = reason
        return reason != said


def main() -> None:
    """Run the daemon as `dagster-daemon` does, once it may drive."""
    from financehub_dagster.operations import driving
    from financehub_dagster.storage.operations.daemons import own_token

    set_pace()
    collect_seldom()
    collect_regularly()
    quiet = SayOnce()
    for part in ("Asset", "Monitoring", "QueuedRunCoordinator", "Scheduler", "Sensor"):
        logging.getLogger(f"dagster.daemon.{part}Daemon").addFilter(quiet)
    if sys.argv[1:2] != ["run"] or not driving.is_shared():
        cli()
        return
    _tell_times()
    token = own_token()
    _stand_by(token)
    keeper = driving.Keeper(token, lambda other: _begin_again(f"{other} drives now"), _cut_off)
    keeper.start()
    try:
        cli()
    finally:
        keeper.stop()
        driving.release(token)


def set_pace() -> None:
    """Tell Dagster how often to look after backfills, and how often to read the code location."""
    paces = {
        "DEFAULT_DAEMON_INTERVAL_SECONDS": BACKFILL_SECONDS,
        "RELOAD_WORKSPACE_INTERVAL": READ_ANEW_SECONDS,
        "DEFAULT_WORKSPACE_FRESHNESS_TOLERANCE": READ_ANEW_SECONDS + FAILING_SECONDS,
    }
    for name, seconds in paces.items():
        assert hasattr(controller, name)
        setattr(controller, name, seconds)


def _tell_times() -> None:
    """Give each of our messages its time, as Dagster's have; Dagster sets up its own ones only, and later."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s"))
    _logger.addHandler(handler)
    _logger.propagate = False


def _stand_by(token: str) -> None:
    """Wait until this daemon may drive, and say why it does not."""
    from financehub_dagster.operations import driving
    from financehub_dagster.storage.database.errors import DatabaseError

    said, pause = "", threading.Event()
    while True:
        try:
            other = driving.claim(token)
            why = "" if other is None else f"{other} drives"
        except DatabaseError as error:
            why = str(error)
        if not why:
            return
        if why != said:
            _logger.warning("stands by: %s", why)
        said = why
        pause.wait(driving.LOOK_SECONDS)


def _cut_off() -> None:
    _begin_again("the database did not answer for so long that another daemon may drive now")


def _begin_again(why: str) -> NoReturn:
    """Drive no more, whatever the threads are about to do, and stand by: the same process, begun anew."""
    _logger.warning("drives no more: %s", why)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, sys.orig_argv)


if __name__ == "__main__":
    main()
