"""What Dagster's own tables say about its daemon and its runs, read without loading Dagster, which takes a second.

Belongs here: small questions to Dagster's database. Does not belong here: writing to it (Dagster alone does).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.database.urls import MARKET_DRIVER, beside, market_url

_HEARTBEATS = sa.text("select daemon_type, timestamp from daemon_heartbeats")
_RUNS = sa.text("select status, count(*) from runs where status = any(:statuses) group by status")


def heartbeats() -> dict[str, datetime]:
    """When each daemon last said that it works (aware, UTC); raises DatabaseError."""
    with autocommit(_address()) as connection:
        return _heartbeats(connection)


def heartbeats_and_runs(statuses: Sequence[str]) -> tuple[dict[str, datetime], dict[str, int]]:
    """The heartbeats, and how many runs have each of `statuses`, named as Dagster does; raises DatabaseError."""
    with autocommit(_address()) as connection:
        counts = {status: int(count) for status, count in connection.execute(_RUNS, {"statuses": list(statuses)})}
        return _heartbeats(connection), {status: counts.get(status, 0) for status in statuses}


def _heartbeats(connection: Connection) -> dict[str, datetime]:
    return {name: at.replace(tzinfo=UTC) for name, at in connection.execute(_HEARTBEATS)}


def _address() -> sa.URL:
    return beside(market_url()).set(drivername=MARKET_DRIVER)
