"""How far the replica that reports read is behind the primary.

Belongs here: asking both. Does not belong here: what counts as too far (operations.health), or reading from a replica.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.urls import market_url, replica_url

_WRITTEN = sa.text("select pg_current_wal_lsn()::text")
_REPLAYED = sa.text("""
    select pg_is_in_recovery(), pg_wal_lsn_diff(cast(:written as pg_lsn), pg_last_wal_replay_lsn()),
        extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
""")


@dataclass(frozen=True)
class Lag:
    """What a replica lacks of the primary.

    bytes: of the log that it has not replayed; None where it follows nobody. seconds: age of the last commit that it
    has replayed, 0 where it lacks nothing; None where it has replayed none yet.
    """

    bytes: int | None
    seconds: float | None


def lag() -> Lag:
    """How far the replica is behind; raises DatabaseError. It must be set."""
    replica = replica_url()
    assert replica is not None
    with autocommit(market_url()) as connection:
        written = connection.execute(_WRITTEN).scalar_one()
    with autocommit(replica) as connection:
        follows, behind, age = connection.execute(_REPLAYED, {"written": written}).one()
    if not follows or behind is None:
        return Lag(None, None)
    missing = max(0, int(behind))
    return Lag(missing, 0.0 if missing == 0 else None if age is None else max(0.0, float(age)))
