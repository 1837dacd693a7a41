"""Dagster's daemon, which drives only while it holds the claim on the database, and looks after backfills often.

Belongs here: what Dagster has no setting for. Does not belong here: how the daemon is started
(supervisor).
"""

import logging
import os
import sys
import threading
from typing import NoReturn

from dagster._daemon import controller
from dagster._daemon.cli import cli

from financehub_dagster.garbage_collection import collect_seldom

BACKFILL_SECONDS = 5
"""How often backfills are looked after, instead of every 30 s.

A backfill takes a look to begin, and two to be cancelled: one ends its runs, the next sees that they have ended.
"""

_logger = logging.getLogger("financehub.daemon")


def main() -> None:
    """Run the daemon as `dagster-daemon` does, once it may drive."""
    from financehub_dagster.operations import driving
    from financehub_dagster.storage.operations.daemons import own_token

    assert hasattr(controller, "DEFAULT_DAEMON_INTERVAL_SECONDS")
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = BACKFILL_SECONDS
    collect_seldom()
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
