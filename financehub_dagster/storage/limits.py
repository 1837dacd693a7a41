"""The shared rate limiter: one row per limit, moved on the database's clock.

Belongs here: what a limit is and how its slots are handed out (GCRA without bursts). Does not belong here: which limits
a vendor has, or waiting for a slot. A slot is an instant; whoever is given one sends its call then, not before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

SPACING = 1.02
"""Slots lie 2 % further apart than the limit asks, so that the vendor's clock may disagree a little with ours."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` units in any window of `period` seconds; `heaviest` is the largest weight one call may have."""

    name: str
    amount: int
    period: float
    heaviest: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.heaviest <= self.amount or self.period <= 0:
            raise ValueError(f"limit {self.name}: needs 1 <= heaviest <= amount and a positive period")

    def spacing(self, weight: int) -> float:
        """Seconds that a call of `weight` keeps the limit occupied.

        A window that ends with the heaviest call has room for amount - heaviest units before it, hence the divisor.
        """
        if not 1 <= weight <= self.heaviest:
            raise ValueError(f"limit {self.name}: weight {weight} is not within 1..{self.heaviest}")
        return SPACING * self.period * weight / (self.amount - self.heaviest + 1)


@dataclass(frozen=True, slots=True)
class Slot:
    """The answer to a reservation: granted and due in `wait` seconds, or refused because that would be too late."""

    granted: bool
    wait: float


# The locks are taken before the clock is read, so that slots are handed out in order. synchronous_commit is off for
# this one transaction: a crashed PostgreSQL takes longer to come back than the few slots it may forget.
_RESERVE = sa.text(
    """
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
    asked AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:names AS text[]), CAST(:spacings AS float8[])) AS a(limit_name, spacing)
    ),
    held AS MATERIALIZED (
        SELECT tat FROM rate_limits
        WHERE provider = :provider AND scope = :scope AND limit_name = ANY(CAST(:names AS text[]))
        ORDER BY limit_name FOR UPDATE
    ),
    slot AS MATERIALIZED (
        SELECT rows, greatest(tat, clock) AS due, clock
        FROM (SELECT count(tat) AS rows, max(tat) AS tat, clock_timestamp() AS clock FROM held, quick) AS locked
    ),
    moved AS (
        UPDATE rate_limits r SET tat = slot.due + make_interval(secs => asked.spacing)
        FROM asked, slot
        WHERE r.provider = :provider AND r.scope = :scope AND r.limit_name = asked.limit_name
          AND slot.rows = :rows AND slot.due <= slot.clock + make_interval(secs => :max_wait)
        RETURNING 1
    )
    SELECT slot.rows, (SELECT count(*) FROM moved) AS moved, extract(epoch FROM slot.due - slot.clock) AS wait FROM slot
    """
)

_CREATE = sa.text(
    """
    INSERT INTO rate_limits (provider, scope, limit_name, tat)
    SELECT :provider, :scope, limit_name, clock_timestamp() FROM unnest(CAST(:names AS text[])) AS a(limit_name)
    ORDER BY limit_name
    ON CONFLICT DO NOTHING
    """
)

_HOLD = sa.text(
    """
    INSERT INTO rate_limits AS r (provider, scope, limit_name, tat)
    SELECT :provider, :scope, limit_name, clock_timestamp() + make_interval(secs => :seconds)
    FROM unnest(CAST(:names AS text[])) AS a(limit_name)
    ORDER BY limit_name
    ON CONFLICT (provider, scope, limit_name) DO UPDATE SET tat = greatest(r.tat, excluded.tat)
    """
)


def reserve(
    engine: sa.Engine, provider: str, scope: str, limits: Sequence[Limit], *, weight: int = 1, max_wait: float = 60.0
) -> Slot:
    """Take the next slot that all `limits` allow, or none of them when it is more than `max_wait` seconds away.

    Every process that asks shares the same rows. The caller must not send before `wait` seconds have passed. Runs in a
    connection and transaction of its own, never inside one that writes data.
    """
    if not limits:
        return Slot(True, 0.0)
    asked = {
        "provider": provider,
        "scope": scope,
        "names": [limit.name for limit in limits],
        "spacings": [limit.spacing(weight) for limit in limits],
        "rows": len(limits),
        "max_wait": max_wait,
    }
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        row = connection.execute(_RESERVE, asked).one()
        if row.rows < len(limits):
            connection.execute(_CREATE, {key: asked[key] for key in ("provider", "scope", "names")})
            row = connection.execute(_RESERVE, asked).one()
    return Slot(row.moved == len(limits), float(row.wait))


def hold(engine: sa.Engine, provider: str, scope: str, limits: Sequence[Limit], seconds: float) -> None:
    """Hand out no slot of `limits` for the next `seconds`: the vendor said so."""
    names = [limit.name for limit in limits]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_HOLD, {"provider": provider, "scope": scope, "names": names, "seconds": seconds})
