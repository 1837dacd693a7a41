"""What is remembered of API keys, by fingerprint: how much each was used today, and which are benched.

Belongs here: reading and moving that state on the database's clock. Does not belong here: the keys themselves, which no
table ever holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from financehub_dagster.storage.rate_limits import gateway_connection

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key by its scope. While it is benched: until, for `wait` more seconds, cause (an error's name), reason."""

    scope: str
    until: datetime | None = None
    wait: float = 0.0
    cause: str | None = None
    reason: str | None = None


_ORDER = """
    SELECT a.scope, b.benched_until,
        coalesce(greatest(extract(epoch FROM b.benched_until - clock_timestamp())::float8, 0), 0), b.cause, b.reason
    FROM unnest(CAST(%(scopes)s AS text[])) WITH ORDINALITY AS a(scope, place)
    LEFT JOIN api_keys k ON k.provider = %(provider)s AND k.scope = a.scope
    LEFT JOIN api_keys b ON b.provider = k.provider AND b.scope = k.scope AND b.benched_until > clock_timestamp()
    ORDER BY b.benched_until NULLS FIRST,
        CASE WHEN k.day = CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date) THEN k.used ELSE 0 END, a.place
"""

_USE = """
    INSERT INTO api_keys AS k (provider, scope, day, used)
    VALUES (%(provider)s, %(scope)s, CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date), %(weight)s)
    ON CONFLICT (provider, scope) DO UPDATE SET
        used = excluded.used + CASE WHEN k.day = excluded.day THEN k.used ELSE 0 END, day = excluded.day
"""

_BENCH = """
    INSERT INTO api_keys AS k (provider, scope, benched_until, cause, reason)
    VALUES (%(provider)s, %(scope)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(cause)s, %(reason)s)
    ON CONFLICT (provider, scope) DO UPDATE SET
        benched_until = excluded.benched_until, cause = excluded.cause, reason = excluded.reason
    WHERE k.benched_until IS NULL OR k.benched_until < excluded.benched_until
"""


_REFUSED = """
    SELECT k.provider, k.scope, k.reason FROM api_keys k
    JOIN unnest(CAST(:providers AS text[]), CAST(:scopes AS text[])) AS ours(provider, scope) USING (provider, scope)
    WHERE k.cause = :cause AND k.benched_until > clock_timestamp() ORDER BY k.provider, k.scope
"""

_RELEASE = "UPDATE api_keys SET benched_until = NULL WHERE cause = :cause AND benched_until > clock_timestamp()"


def refused(connection: "sa.Connection", accounts: Sequence[tuple[str, str]], cause: str) -> list[tuple[str, str, str]]:
    """Those of `accounts` (provider, scope) that are benched for `cause`: provider, scope and reason, in order."""
    import sqlalchemy as sa

    asked = {"providers": [name for name, _ in accounts], "scopes": [scope for _, scope in accounts], "cause": cause}
    return [(row.provider, row.scope, row.reason) for row in connection.execute(sa.text(_REFUSED), asked)]


def release(connection: "sa.Connection", cause: str) -> int:
    """Use the keys again that are benched for `cause`; returns how many."""
    import sqlalchemy as sa

    return connection.execute(sa.text(_RELEASE), {"cause": cause}).rowcount


def in_order(engine: "sa.Engine", provider: str, scopes: Sequence[str]) -> list[KeyState]:
    """The keys in the order in which they should be used: least used today first, the benched ones last."""
    rows = gateway_connection.execute(engine, _ORDER, {"provider": provider, "scopes": list(scopes)})
    return [KeyState(*row) for row in rows]


def use(engine: "sa.Engine", provider: str, scope: str, weight: int) -> None:
    """A call of `weight` goes out under this key."""
    gateway_connection.execute(engine, _USE, {"provider": provider, "scope": scope, "weight": weight})


def bench(engine: "sa.Engine", provider: str, scope: str, *, cause: str, reason: str, seconds: float) -> None:
    """Do not use this key for `seconds`; a longer bench stands. `reason` must be redacted already."""
    asked = {"provider": provider, "scope": scope, "cause": cause, "reason": reason, "seconds": seconds}
    gateway_connection.durable(engine, _BENCH, asked)
