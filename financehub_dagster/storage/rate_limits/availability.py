"""Which vendors cannot be asked for now, by what all processes have written down about them.

Belongs here: reading budgets, resting keys and breakers together. Does not belong here: keeping them (`quotas`,
`api_keys`, `circuit_breakers`), or which vendors could be asked instead (providers).
"""

from datetime import datetime

import sqlalchemy as sa

from financehub_dagster.storage.database.engine import Connection
from financehub_dagster.storage.rate_limits import circuit_breakers

SOON = 60.0
"""Seconds that a run may wait for a vendor; whoever is ready sooner counts as ready."""

_SHUT = sa.text("""
    WITH soon AS (SELECT clock_timestamp() AS clock, clock_timestamp() + make_interval(secs => :soon) AS soon),
    spent AS (
        SELECT provider, scope, max(free_at) AS until FROM (
            SELECT q.provider, q.scope, q.amount, sum(e.units) AS used, min(e.expires) AS free_at
            FROM soon, quotas q, unnest(q.expires, q.units) AS e(expires, units)
            WHERE e.expires > soon.clock
            GROUP BY q.provider, q.scope, q.quota_name, q.amount
        ) AS booked, soon WHERE used >= amount AND free_at > soon.soon
        GROUP BY provider, scope
    ),
    benched AS (SELECT provider, scope, benched_until AS until FROM api_keys, soon WHERE benched_until > soon.soon),
    accounts AS (SELECT provider, scope FROM api_keys UNION SELECT provider, scope FROM quotas),
    resting AS (
        SELECT a.provider, min(greatest(s.until, b.until)) AS until
        FROM accounts a LEFT JOIN spent s USING (provider, scope) LEFT JOIN benched b USING (provider, scope)
        GROUP BY a.provider HAVING bool_and(s.until IS NOT NULL OR b.until IS NOT NULL)
    ),
    held AS (
        SELECT provider, max(open_until) AS until FROM breakers, soon
        WHERE open_until > soon.soon AND split_part(capability, '@', 1) IN (:everything, :capability)
        GROUP BY provider
    )
    SELECT provider, max(until) AS until FROM (SELECT * FROM resting UNION ALL SELECT * FROM held) AS shut
    GROUP BY provider
""")


def unavailable(connection: Connection, capability: str) -> dict[str, datetime]:
    """The providers that cannot be asked for `capability` within a minute, and from when on they can (UTC).

    Their breaker is open, or each of their accounts has spent a budget or rests.
    """
    asked = {"soon": SOON, "everything": circuit_breakers.ANY, "capability": capability}
    return {row.provider: row.until for row in connection.execute(_SHUT, asked)}
