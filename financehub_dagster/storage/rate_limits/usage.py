"""How many calls each vendor got, by day and outcome, and what is left of its quotas.

Belongs here: counting calls, and reading counts, quotas and keys together. Does not belong here: booking quotas and
benching keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from financehub_dagster.storage.rate_limits import circuit_breakers, coalescing, gateway_connection

if TYPE_CHECKING:
    import sqlalchemy as sa

OK = "ok"
ABORTED = "aborted"
"""The outcome of a call that an interrupt of our own ended."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls of one provider and scope on one UTC day that ended in `outcome`: ok, aborted, or the name of the error."""

    provider: str
    scope: str
    day: date
    outcome: str
    calls: int
    weight: int


_COUNT = """
    INSERT INTO api_usage AS u (provider, scope, day, outcome, calls, weight, last_at, clock_offset)
    VALUES (%(provider)s, %(scope)s, CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date), %(outcome)s, %(calls)s,
        %(weight)s, clock_timestamp(), CAST(%(offset)s AS double precision))
    ON CONFLICT (provider, scope, day, outcome) DO UPDATE SET
        calls = u.calls + excluded.calls, weight = u.weight + excluded.weight, last_at = excluded.last_at,
        clock_offset = coalesce(excluded.clock_offset, u.clock_offset)
"""

_COUNT_ANSWERED = f"WITH forgiven AS ({circuit_breakers.FORGIVE}) {_COUNT}"


def count(
    engine: "sa.Engine", provider: str, scope: str, outcome: str, weight: int = 1, offset: float | None = None
) -> None:
    """Add one call of `weight` to today's count, in a transaction of its own.

    offset: seconds by which the vendor's clock was ahead of ours; None where it did not say.
    """
    asked = {"provider": provider, "scope": scope, "outcome": outcome, "calls": 1, "weight": weight, "offset": offset}
    gateway_connection.execute(engine, _COUNT, asked)


def count_answered(
    engine: "sa.Engine", provider: str, scope: str, capability: str, weight: int = 1, offset: float | None = None
) -> None:
    """Add one call that was answered, and forget the failures so far of its breaker: both in one statement.

    Calls of other threads that were answered meanwhile are counted with it. offset is that of `count`.
    """

    def add(weights: Sequence[int]) -> Sequence[None]:
        asked = {"provider": provider, "scope": scope, "capability": capability, "outcome": OK, "offset": offset}
        gateway_connection.execute(engine, _COUNT_ANSWERED, {**asked, "calls": len(weights), "weight": sum(weights)})
        return [None] * len(weights)

    coalescing.ask(engine, ("count", provider, scope, capability), weight, add)


def read(engine: "sa.Engine", since: date) -> list[Usage]:
    """The counts from `since` on, latest day first."""
    import sqlalchemy as sa

    from financehub_dagster.storage.database.schema import api_usage

    query = (
        sa.select(
            api_usage.c.provider,
            api_usage.c.scope,
            api_usage.c.day,
            api_usage.c.outcome,
            api_usage.c.calls,
            api_usage.c.weight,
        )
        .where(api_usage.c.day >= since)
        .order_by(api_usage.c.day.desc(), api_usage.c.provider, api_usage.c.scope, api_usage.c.outcome)
    )
    with engine.connect() as connection:
        return [Usage(*row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one account at one provider used of one window.

    key is a fingerprint, None where the vendor counts the address; place is empty or @host:port of a base URL override.
    window is the name of a quota, or "today" for the calls and weight of this UTC day, which have no amount and no end.
    left may not be negative; resets_at is when the last booking expires. benched_until and reason are set while the key
    rests.
    """

    provider: str
    key: str | None
    place: str
    window: str
    used: int
    amount: int | None
    left: int | None
    resets_at: datetime | None
    calls: int | None
    benched_until: datetime | None
    reason: str | None


_REPORT = """
    WITH today AS (
        SELECT provider, scope, 'today' AS usage_window, sum(weight) AS used, CAST(NULL AS bigint) AS amount,
            CAST(NULL AS timestamptz) AS resets_at, sum(calls) AS calls
        FROM api_usage WHERE day = CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date) GROUP BY provider, scope
    ),
    spent AS (
        SELECT q.provider, q.scope, q.quota_name, coalesce(sum(e.units), 0), q.amount, max(e.expires),
            CAST(NULL AS numeric)
        FROM quotas q LEFT JOIN LATERAL unnest(q.expires, q.units) AS e(expires, units)
            ON e.expires > clock_timestamp()
        GROUP BY q.provider, q.scope, q.quota_name, q.amount
    ),
    resting AS (SELECT * FROM api_keys WHERE benched_until > clock_timestamp()),
    idle AS (
        SELECT r.provider, r.scope, 'today', CAST(0 AS numeric), CAST(NULL AS bigint), CAST(NULL AS timestamptz),
            CAST(0 AS numeric)
        FROM resting r WHERE NOT EXISTS (SELECT FROM today t WHERE t.provider = r.provider AND t.scope = r.scope)
    ),
    windows AS (SELECT * FROM today UNION ALL SELECT * FROM spent UNION ALL SELECT * FROM idle)
    SELECT w.provider, nullif(split_part(w.scope, '@', 1), 'ip') AS key,
        CASE WHEN w.scope LIKE '%@%' THEN '@' || split_part(w.scope, '@', 2) ELSE '' END AS place,
        w.usage_window, CAST(w.used AS bigint) AS used, w.amount,
        CAST(greatest(w.amount - w.used, 0) AS bigint) AS remaining, w.resets_at, CAST(w.calls AS bigint) AS calls,
        r.benched_until, r.reason
    FROM windows w LEFT JOIN resting r ON r.provider = w.provider AND r.scope = w.scope
    ORDER BY w.provider, place, w.scope, w.usage_window
"""


def usage_report(engine: "sa.Engine") -> list[UsageRow]:
    """Used and left in every window of every account that was ever used, by provider."""
    import sqlalchemy as sa

    with engine.connect() as connection:
        return [
            UsageRow(
                provider=row.provider,
                key=row.key,
                place=row.place,
                window=row.usage_window,
                used=row.used,
                amount=row.amount,
                left=None if row.amount is None else row.remaining,
                resets_at=row.resets_at,
                calls=row.calls,
                benched_until=row.benched_until,
                reason=row.reason,
            )
            for row in connection.execute(sa.text(_REPORT))
        ]


@dataclass(frozen=True, slots=True)
class VendorState:
    """What is known of a vendor without asking it.

    open_until and reason: a circuit breaker that lets no call through until then (aware), and why. outcome: how its
    last call ended, last_at when. calls and failures are those of this UTC day. clock_offset: seconds by which its
    clock was ahead of the machine that called it last.
    """

    provider: str
    open_until: datetime | None
    reason: str | None
    outcome: str | None
    last_at: datetime | None
    calls: int
    failures: int
    clock_offset: float | None
    clock_read_at: datetime | None


_VENDORS = """
    WITH asked AS (
        SELECT * FROM unnest(CAST(:names AS text[]), CAST(:places AS text[])) AS a(provider, place)
    ),
    recent AS (
        SELECT u.*, u.day = CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date) AS is_today
        FROM api_usage u JOIN asked USING (provider)
        WHERE u.day > CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date) - 8
            AND substr(u.scope, length(split_part(u.scope, '@', 1)) + 1) = asked.place
    ),
    today AS (
        SELECT provider, sum(calls) AS calls, coalesce(sum(calls) FILTER (WHERE outcome <> 'ok'), 0) AS failures
        FROM recent WHERE is_today GROUP BY provider
    ),
    last AS (
        SELECT DISTINCT ON (provider) provider, outcome, last_at FROM recent
        WHERE last_at IS NOT NULL ORDER BY provider, last_at DESC
    ),
    clocks AS (
        SELECT DISTINCT ON (provider) provider, clock_offset, last_at FROM recent
        WHERE clock_offset IS NOT NULL ORDER BY provider, last_at DESC
    ),
    shut AS (
        SELECT DISTINCT ON (provider) provider, open_until, coalesce(reason, 'no reason was kept') AS reason
        FROM breakers JOIN asked USING (provider)
        WHERE open_until > clock_timestamp()
            AND substr(capability, length(split_part(capability, '@', 1)) + 1) = asked.place
        ORDER BY provider, open_until DESC
    )
    SELECT asked.provider, shut.open_until, shut.reason, last.outcome, last.last_at,
        CAST(coalesce(today.calls, 0) AS bigint), CAST(coalesce(today.failures, 0) AS bigint), clocks.clock_offset,
        clocks.last_at
    FROM asked LEFT JOIN shut USING (provider) LEFT JOIN last USING (provider) LEFT JOIN today USING (provider)
    LEFT JOIN clocks USING (provider) ORDER BY asked.provider
"""


def vendor_states(connection: "sa.Connection", places: Mapping[str, str]) -> list[VendorState]:
    """The state of each vendor, by name; `places` maps it to "", or to the @host:port that replaces its address."""
    import sqlalchemy as sa

    rows = connection.execute(sa.text(_VENDORS), {"names": list(places), "places": list(places.values())})
    return [VendorState(*row) for row in rows]
