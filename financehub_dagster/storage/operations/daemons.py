"""`daemons`: who drives the platform on this database, and who else does.

Belongs here: the claim that one daemon holds, and which daemons write heartbeats. Does not belong here: keeping a claim
and what is done when it is lost (operations.driving).

Two of Dagster's daemons on one storage make every tick twice. So a daemon drives only while it holds the claim, which
it renews; all times are the database's. A claim is over when its process is gone, which only its own machine can see,
and otherwise when it was not renewed for as long as a LEASE.
"""

import json
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.locks import lock_name
from financehub_dagster.storage.database.processes import identity, is_gone

LEASE = timedelta(seconds=30)
"""A claim that was not renewed for this long is over."""
DRIVING = timedelta(seconds=75)
"""Whose heartbeat is younger drives: each of Dagster's threads writes one every 30 s."""
FORGOTTEN = timedelta(days=1)
TOKEN = "FINANCEHUB_DAEMON_TOKEN"
"""The environment variable by which a supervisor and its daemon know that they are one; nobody else sets it."""

_COLUMNS = "token, host, home, process, since, seen_at, extract(epoch from clock_timestamp() - seen_at)"
_HOLDER = sa.text(f"select {_COLUMNS} from daemons where claims")
_END = sa.text("update daemons set claims = false where claims and token <> :token")
_CLAIM = sa.text("""
    insert into daemons as d (token, host, home, process, claims) values (:token, :host, :home, :process, true)
    on conflict (token) do update set claims = true, seen_at = clock_timestamp(),
        since = case when d.claims then d.since else clock_timestamp() end
    """)
_FORGET = sa.text("delete from daemons where not claims and seen_at < clock_timestamp() - cast(:age as interval)")
_RELEASE = sa.text("delete from daemons where token = :token and process = :process")
_BEAT = sa.text("""
    insert into daemons (token, host, home, process, claims, beat_at)
    values (:token, :host, :home, :process, false, clock_timestamp())
    on conflict (token) do update set beat_at = excluded.beat_at,
        seen_at = case when daemons.claims then daemons.seen_at else excluded.beat_at end
    """)
# A daemon that follows another one writes its first heartbeat after the other's last: only those that overlap are two.
_TOGETHER = sa.text(f"""
    select {_COLUMNS} from daemons d
    where beat_at > clock_timestamp() - cast(:age as interval) and exists (
        select from daemons other where other.token <> d.token
            and other.beat_at > greatest(d.since, clock_timestamp() - cast(:age as interval))
            and d.beat_at > other.since)
    order by claims desc, since
    """)


@dataclass(frozen=True)
class Daemon:
    """A daemon: where it was started, since when, and when it last renewed its claim (aware), `silent` seconds ago."""

    token: str
    host: str
    home: str
    process: str
    since: datetime
    seen_at: datetime
    silent: float

    @property
    def pid(self) -> int:
        """The process that started it, on its host."""
        return int(json.loads(self.process)["pid"])

    @property
    def is_over(self) -> bool:
        """Whether another daemon may take its claim; a clock that was set back makes it over too."""
        return abs(self.silent) > LEASE.total_seconds() or is_gone(self.process)

    def __str__(self) -> str:
        """Where it is and since when."""
        return (
            f"{self.host} ({self.home}, process {self.pid}, since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC)"
        )


def own_token() -> str:
    """The token of this process's platform: its supervisor's, or one of its own."""
    return os.environ.setdefault(TOKEN, uuid.uuid4().hex)


def holder(connection: Connection) -> Daemon | None:
    """Who holds the claim, whether or not it is over."""
    row = connection.execute(_HOLDER).one_or_none()
    return None if row is None else _daemon(row)


def claim(connection: Connection, token: str, home: str) -> Daemon | None:
    """Take the claim, or renew it; returns who else holds it, and None when it is ours."""
    lock_name(connection, "daemons")
    other = holder(connection)
    if other is not None and other.token != token and not other.is_over:
        return other
    connection.execute(_END, {"token": token})
    connection.execute(_CLAIM, _place(token, home))
    connection.execute(_FORGET, {"age": FORGOTTEN})
    return None


def release(connection: Connection, token: str) -> None:
    """Give up the claim that this process took, when nothing drives any more; one that it shares stays."""
    connection.execute(_RELEASE, {"token": token, "process": identity()})


def beat(connection: Connection, token: str, home: str) -> None:
    """Dagster's daemon in this process has written a heartbeat, with a claim or without."""
    connection.execute(_BEAT, _place(token, home))


def driving_together(connection: Connection) -> list[Daemon]:
    """The daemons that drive at the same time, the one with the claim first; none where one drives alone."""
    return [_daemon(row) for row in connection.execute(_TOGETHER, {"age": DRIVING})]


def _daemon(row: Sequence[Any]) -> Daemon:
    token, host, home, process, since, seen_at, silent = row
    return Daemon(token, host, home, process, since, seen_at, float(silent))


def _place(token: str, home: str) -> dict[str, str]:
    return {"token": token, "host": socket.gethostname(), "home": home, "process": identity()}
