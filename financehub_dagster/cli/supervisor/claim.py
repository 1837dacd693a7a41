"""The claim of `financehub up` on its database: one platform drives it, wherever others are started.

Belongs here: refusing to start beside a platform that lives, and outwaiting the claim of one that was killed. Does not
belong here: the claim itself (operations.driving).
"""

import os
import uuid
from types import TracebackType
from typing import Self

from financehub_dagster.cli.console import Console
from financehub_dagster.cli.errors import CommandError
from financehub_dagster.cli.signals import StopSignals
from financehub_dagster.cli.supervisor.supervisor import Supervisor
from financehub_dagster.operations import driving
from financehub_dagster.storage.database.errors import NotMigrated
from financehub_dagster.storage.operations.daemons import LEASE, TOKEN, Daemon

SILENT_SECONDS = 2 * driving.RENEW_SECONDS + 2.0
"""Who has not renewed a claim for longer was killed, or is cut off."""
REMEDY = "stop it there (`financehub down`, or end that process), or run `financehub worker` or `financehub serve` here"


class Claim:
    """Use as a context manager around the supervisor, so that the claim is given up when nothing runs any more."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._token = os.environ[TOKEN] = uuid.uuid4().hex
        self._keeper: driving.Keeper | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.stop()
            driving.release(self._token)

    def take(self, supervisor: Supervisor, stop: StopSignals) -> None:
        """Take the claim and keep it, if that was not done; does nothing before the database has a table for claims.

        Raises CommandError where another platform lives. When the claim is lost later, the supervisor fails.
        """
        if self._keeper is not None or not driving.is_shared():
            return
        try:
            self._wait(stop)
        except NotMigrated:
            return

        def lost(other: Daemon) -> None:
            supervisor.failure = f"this platform was cut off from its database, and {other} has taken over"

        self._keeper = driving.Keeper(self._token, lost)
        self._keeper.start()

    def _wait(self, stop: StopSignals) -> None:
        """Take the claim when nobody else holds it; whoever renews theirs meanwhile is alive."""
        first = other = driving.claim(self._token)
        told = False
        while other is not None:
            if first is None or (other.token, other.seen_at) != (first.token, first.seen_at):
                raise CommandError(f"{other} drives this database: {REMEDY}")
            if not told and other.silent > SILENT_SECONDS:
                told = True
                left = max(0.0, LEASE.total_seconds() - other.silent)
                self._console.note(
                    f"{other} was last heard of {other.silent:.0f} s ago: this platform starts when that claim ends, "
                    f"in {left:.0f} s"
                )
            stop.wait(driving.LOOK_SECONDS)
            other = driving.claim(self._token)
