"""The shared rate limiter: one row per limit, moved on the database's clock.

Belongs here: what a limit is and how slots are handed out: evenly spaced (GCRA without bursts), within the quotas. Does
not belong here: which limits a vendor has, or waiting for a slot. A slot is an instant; whoever is given one sends its
call then, not before.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from financehub_dagster.storage.rate_limits import coalescing, gateway_connection, quotas
from financehub_dagster.storage.rate_limits.quotas import Quota

if TYPE_CHECKING:
    import sqlalchemy as sa

SPACING = 1.02
"""Slots lie 2 % further apart than the limit asks: clocks may disagree a little, and calls leave a little late."""
LATE = 0.75
"""The share of that which a late call may use up."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` units in any window of `period` seconds; `heaviest` is the largest weight one call may have.

    weighted: are units the weight of a call, or requests?
    """

    name: str
    amount: int
    period: float
    heaviest: int = 1
    weighted: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.heaviest <= self.amount or self.period <= 0:
            raise ValueError(f"limit {self.name}: needs 1 <= heaviest <= amount and a positive period")

    def spacing(self, weight: int) -> float:
        """Seconds that a call of `weight` keeps the limit occupied.

        A window that ends with the heaviest call has room for amount - heaviest units before it, hence the divisor.
        """
        if not self.weighted:
            weight = 1
        if not 1 <= weight <= self.heaviest:
            raise ValueError(f"limit {self.name}: weight {weight} is not within 1..{self.heaviest}")
        return SPACING * self.period * weight / (self.amount - self.heaviest + 1)

    @property
    def tolerance(self) -> float:
        """Seconds that a call may leave after its slot; nobody counts in windows shorter than a second."""
        return LATE * (SPACING - 1.0) * max(self.period, 1.0)


@dataclass(frozen=True, slots=True)
class Slot:
    """The answer to a reservation: granted and due in `wait` seconds, or refused because that would be too late.

    `quota` names the quota that is used up until then, None where the spacing of calls decides. due is the slot itself
    on the clock of time.monotonic, as late as it may be, had the answer taken no longer than the quickest one so far.
    """

    granted: bool
    wait: float
    quota: str | None = None
    due: float = field(default=math.inf, compare=False)


# One limit alone, the common case: the row is read, moved and returned in one step. After waiting for its lock
# PostgreSQL reads row and clock anew, so that slots are handed out in order.
_SPACE = """
    UPDATE rate_limits
    SET tat = greatest(tat, clock_timestamp()) + make_interval(secs => %(spacing)s)
    WHERE provider = %(provider)s AND scope = %(scope)s AND limit_name = %(limit)s
      AND tat <= clock_timestamp() + make_interval(secs => %(max_wait)s)
    RETURNING extract(epoch FROM tat - clock_timestamp())::float8 - %(spacing)s
"""

_LOOK = """
    SELECT extract(epoch FROM tat - clock_timestamp())::float8 FROM rate_limits
    WHERE provider = %(provider)s AND scope = %(scope)s AND limit_name = %(limit)s
"""

# All or none of several. The locks are taken before the clock is read; rows that are missing grant nothing.
_RESERVE = f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(CAST(%(limits)s AS text[]), CAST(%(spacings)s AS float8[])) AS a(limit_name, spacing)
    ),
    wanted AS MATERIALIZED ({quotas.WANTED}),
    held AS MATERIALIZED (
        SELECT tat FROM rate_limits
        WHERE provider = %(provider)s AND scope = %(scope)s AND limit_name = ANY(CAST(%(limits)s AS text[]))
        ORDER BY limit_name FOR UPDATE
    ),
    paced AS MATERIALIZED (SELECT count(tat) AS limits, max(tat) AS tat FROM held),
    counted AS MATERIALIZED (
        SELECT quota_name, expires, units, resets_at FROM quotas
        WHERE provider = %(provider)s AND scope = %(scope)s AND quota_name = ANY(CAST(%(quotas)s AS text[]))
          AND (SELECT limits FROM paced) >= 0
        ORDER BY quota_name FOR UPDATE
    ),
    locks AS MATERIALIZED (SELECT limits, tat, (SELECT count(*) FROM counted) AS quotas FROM paced),
    locked AS MATERIALIZED (SELECT *, clock_timestamp() AS clock FROM locks),
    entries AS MATERIALIZED (
        SELECT c.quota_name, e.expires, e.units
        FROM locked, counted c, unnest(c.expires, c.units) AS e(expires, units) WHERE e.expires > locked.clock
    ),
    running AS (
        SELECT quota_name, expires, sum(units) OVER (PARTITION BY quota_name ORDER BY expires DESC) AS used FROM entries
    ),
    full_until AS (
        SELECT quota_name, max(expires) AS until FROM running JOIN wanted w USING (quota_name)
        WHERE w.units > 0 AND running.used > w.amount - w.units
        GROUP BY quota_name ORDER BY until DESC LIMIT 1
    ),
    slot AS MATERIALIZED (
        SELECT l.*, f.quota_name, greatest(l.tat, l.clock, f.until) AS due,
            l.limits = cardinality(CAST(%(limits)s AS text[])) AND l.quotas = cardinality(CAST(%(quotas)s AS text[]))
                AS complete,
            f.until > greatest(l.tat, l.clock) AS spent
        FROM locked l LEFT JOIN full_until f ON true
    ),
    granted AS MATERIALIZED (
        SELECT * FROM slot WHERE complete AND due <= clock + make_interval(secs => %(max_wait)s)
    ),
    moved AS (
        UPDATE rate_limits r SET tat = granted.due + make_interval(secs => asked.spacing)
        FROM asked, granted
        WHERE r.provider = %(provider)s AND r.scope = %(scope)s AND r.limit_name = asked.limit_name
    ),
    booked AS (
        SELECT quota_name, expires, units FROM entries
        UNION ALL
        SELECT w.quota_name, {quotas.EXPIRY.format(at="granted.due", resets_at="c.resets_at")}, w.units
        FROM granted, wanted w JOIN counted c USING (quota_name) WHERE w.units > 0
    ),
    merged AS (SELECT quota_name, expires, CAST(sum(units) AS bigint) AS units FROM booked GROUP BY 1, 2),
    rebuilt AS (
        SELECT quota_name, array_agg(expires ORDER BY expires) AS expires, array_agg(units ORDER BY expires) AS units
        FROM merged GROUP BY 1
    ),
    noted AS (
        UPDATE quotas q SET expires = n.expires, units = n.units, amount = w.amount
        FROM granted, rebuilt n JOIN wanted w USING (quota_name)
        WHERE q.provider = %(provider)s AND q.scope = %(scope)s AND q.quota_name = n.quota_name
    )
    SELECT complete, complete AND due <= clock + make_interval(secs => %(max_wait)s),
        extract(epoch FROM due - clock)::float8, CASE WHEN spent THEN quota_name END
    FROM slot
"""

_CREATE = """
    INSERT INTO rate_limits (provider, scope, limit_name, tat)
    SELECT %(provider)s, %(scope)s, limit_name, clock_timestamp()
    FROM unnest(CAST(%(limits)s AS text[])) AS a(limit_name)
    ORDER BY limit_name
    ON CONFLICT DO NOTHING
"""

_HOLD = """
    INSERT INTO rate_limits AS r (provider, scope, limit_name, tat)
    SELECT %(provider)s, %(scope)s, limit_name, clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM unnest(CAST(%(limits)s AS text[])) AS a(limit_name)
    ORDER BY limit_name
    ON CONFLICT (provider, scope, limit_name) DO UPDATE SET tat = greatest(r.tat, excluded.tat)
"""


def reserve(
    engine: "sa.Engine",
    provider: str,
    scope: str,
    limits: Sequence[Limit],
    budgets: Sequence[Quota] = (),
    *,
    weight: int = 1,
    max_wait: float = 60.0,
) -> Slot:
    """Take the next slot that all `limits` and `budgets` allow, or nothing when it is over `max_wait` seconds away.

    Every process that asks shares the same rows. The caller must not send before `wait` seconds have passed. Never part
    of a transaction that writes data.
    """
    if not limits and not budgets:
        return Slot(True, 0.0)
    if len(limits) == 1 and not budgets:
        ask = _Ask(limits[0].spacing(weight), max_wait)
        where = (provider, scope, limits[0].name)
        return coalescing.ask(engine, ("space", *where), ask, lambda asks: _space(engine, where, asks))
    return _reserve(engine, provider, scope, limits, budgets, weight, max_wait)


_round_trips: "WeakKeyDictionary[sa.Engine, float]" = WeakKeyDictionary()


def _quickest(engine: "sa.Engine", seconds: float) -> float:
    """The shortest time that a reservation took so far: how far away the database is, whatever held this one up."""
    known = _round_trips.get(engine)
    if known is None or seconds < known:
        _round_trips[engine] = known = seconds
    return known


def _reserve(
    engine: "sa.Engine",
    provider: str,
    scope: str,
    limits: Sequence[Limit],
    budgets: Sequence[Quota],
    weight: int,
    max_wait: float,
) -> Slot:
    where = {"provider": provider, "scope": scope}
    asked = {
        **where,
        "limits": [limit.name for limit in limits],
        "spacings": [limit.spacing(weight) for limit in limits],
        **quotas.wanted(budgets, [budget.units(weight) for budget in budgets]),
        "max_wait": max_wait,
    }
    run = gateway_connection.durable if any(budget.is_long for budget in budgets) else gateway_connection.timed
    sent_at, [(complete, granted, wait, spent)] = run(engine, _RESERVE, asked)
    if not complete:
        gateway_connection.execute(engine, _CREATE, {**where, "limits": asked["limits"]})
        quotas.create(engine, provider, scope, budgets)
        sent_at, [(_, granted, wait, spent)] = run(engine, _RESERVE, asked)
    here = sent_at + _quickest(engine, time.monotonic() - sent_at)
    return Slot(granted, wait, spent, here + wait)


@dataclass(frozen=True, slots=True)
class _Ask:
    """A call that keeps its limit occupied for `spacing` seconds, and may wait for `max_wait`."""

    spacing: float
    max_wait: float


def _space(engine: "sa.Engine", where: tuple[str, str, str], asks: Sequence[_Ask]) -> list[Slot]:
    """The next slots of one limit, in one step; where the last would come too late, one after the other."""
    taken = _take(engine, where, asks)
    if taken:
        return taken
    if len(asks) > 1:
        return [slot for ask in asks for slot in _space(engine, where, [ask])]
    row, max_wait = dict(zip(("provider", "scope", "limit"), where, strict=True)), asks[0].max_wait
    found = gateway_connection.execute(engine, _LOOK, row)
    if found and found[0][0] > max_wait:
        return [Slot(False, found[0][0])]
    gateway_connection.execute(
        engine, _CREATE, {"provider": row["provider"], "scope": row["scope"], "limits": [row["limit"]]}
    )
    # None, still: others took the slots in between.
    return _take(engine, where, asks) or [
        Slot(False, max(gateway_connection.execute(engine, _LOOK, row)[0][0], max_wait))
    ]


def _take(engine: "sa.Engine", where: tuple[str, str, str], asks: Sequence[_Ask]) -> list[Slot]:
    """A slot for each of `asks`, one behind the other, or none at all when one would come too late."""
    *behind, total = accumulate((ask.spacing for ask in asks), initial=0.0)
    provider, scope, limit = where
    latest = min(ask.max_wait - before for ask, before in zip(asks, behind, strict=True))
    if latest < 0:  # even if the first went now
        return []
    asked = {"provider": provider, "scope": scope, "limit": limit, "spacing": total, "max_wait": latest}
    sent_at, taken = gateway_connection.timed(engine, _SPACE, asked)
    here = sent_at + _quickest(engine, time.monotonic() - sent_at)
    waits = [max(row[0] + before, 0.0) for row in taken for before in behind]
    return [Slot(True, wait, due=here + wait) for wait in waits]


def hold(engine: "sa.Engine", provider: str, scope: str, limits: Sequence[Limit], seconds: float) -> None:
    """Hand out no slot of `limits` for the next `seconds`: the vendor said so."""
    names = [limit.name for limit in limits]
    gateway_connection.execute(
        engine, _HOLD, {"provider": provider, "scope": scope, "limits": names, "seconds": seconds}
    )
