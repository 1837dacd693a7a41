"""What a vendor lets us use in a window of time, as it counts: requests or credits per minute, day or month.

Belongs here: what a quota is, what the vendor reports of it, and correcting our count by that. Does not belong here:
handing out slots (limiter), or which quotas a vendor has.

A row holds what is used as (expires, units): a booking counts until it expires. In a rolling window that is one period
after the call, in a calendar window the next reset. So there is one rule for both: what has not expired must not add up
to more than the amount.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from financehub_dagster.storage.rate_limits import gateway_connection

if TYPE_CHECKING:
    import sqlalchemy as sa

type Unit = Literal["minute", "hour", "day", "month"]

SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0, "month": 31 * 86400.0}
LONG_SECONDS = 3600.0
"""From this length of its window on a quota is a budget; a shorter one is a matter of pace."""
GRAIN = 240
"""A rolling window of more units than this is kept in as many steps, each of which expires as a whole."""


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `amount` units in a window; a burst may use them at once.

    Either `per` names a calendar window, which resets at its end in `zone` (IANA name), or `period` is the length of a
    rolling one in seconds. weighted: are units credits (the weight of a call), or requests?
    """

    name: str
    amount: int
    per: Unit | None = None
    period: float | None = None
    zone: str = "UTC"
    weighted: bool = True

    def __post_init__(self) -> None:
        if self.amount < 1 or (self.per is None) == (self.period is None) or (self.period or 1.0) <= 0:
            raise ValueError(f"quota {self.name}: needs a positive amount and either `per` or a positive `period`")

    @property
    def seconds(self) -> float:
        """The length of the window; the longest there is for a month."""
        return SECONDS[self.per] if self.per else float(self.period or 0.0)

    @property
    def is_long(self) -> bool:
        """Is it a budget whose bookings must outlive a crash, rather than a matter of pace?"""
        return self.seconds >= LONG_SECONDS

    @property
    def margin(self) -> float:
        """Seconds by which the vendor's clock may disagree with ours, or a call may be under way.

        A call so close to a reset that it might count on either side of it counts on both.
        """
        return min(0.02 * self.seconds, 5.0 if self.per else 60.0)

    @property
    def step(self) -> float:
        """Seconds to which the end of a booking in a rolling window is rounded up."""
        return 0.001 if self.amount <= GRAIN else self.seconds / GRAIN

    def resets_after(self, now: datetime) -> datetime:
        """The instant (UTC) at which a quota that the vendor calls spent `now` is fresh again.

        A rolling window frees up bit by bit; all we know of one that is spent is when it will be empty.
        """
        if self.per is None:
            return now + timedelta(seconds=self.seconds)
        local = now.astimezone(ZoneInfo(self.zone)).replace(second=0, microsecond=0)
        if self.per != "minute":
            local = local.replace(minute=0)
        if self.per in ("day", "month"):
            local = local.replace(hour=0)
        if self.per == "month":
            following = (local.replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            following = local + timedelta(seconds=self.seconds)
        return following.astimezone(UTC)

    def units(self, weight: int) -> int:
        """What a call of `weight` uses; raises ValueError when it can never fit."""
        units = weight if self.weighted else 1
        if not 0 <= units <= self.amount:
            raise ValueError(f"quota {self.name}: weight {weight} is not within 0..{self.amount}")
        return units


@dataclass(frozen=True, slots=True)
class Reading:
    """What the vendor itself says of the quota of this name: how much is left, and when it resets (UTC), if known."""

    quota: str
    left: int
    resets_at: datetime | None = None


EXPIRY = """
    CASE WHEN w.per IS NULL THEN to_timestamp(
        ceil((extract(epoch FROM {at}) + w.period + w.margin) / w.step) * w.step)
    ELSE make_interval(secs => w.margin) + CASE
        WHEN {resets_at} > {at} + make_interval(secs => w.margin) THEN {resets_at}
        WHEN {resets_at} + CAST('1 ' || w.per AS interval) > {at} + make_interval(secs => w.margin)
            THEN {resets_at} + CAST('1 ' || w.per AS interval)
        ELSE (date_trunc(w.per, ({at} + make_interval(secs => w.margin)) AT TIME ZONE w.zone)
            + CAST('1 ' || w.per AS interval)) AT TIME ZONE w.zone
        END
    END
"""
"""When a booking made `at` expires, in SQL over the columns of `wanted`; the vendor's own reset goes before ours."""

WANTED = """
    SELECT * FROM unnest(
        CAST(%(quotas)s AS text[]), CAST(%(amounts)s AS bigint[]), CAST(%(units)s AS bigint[]),
        CAST(%(per)s AS text[]), CAST(%(periods)s AS float8[]), CAST(%(zones)s AS text[]),
        CAST(%(margins)s AS float8[]), CAST(%(steps)s AS float8[])
    ) AS w(quota_name, amount, units, per, period, zone, margin, step)
"""
"""The quotas asked for, as a relation; `wanted` makes its parameters."""


def wanted(quotas: Sequence[Quota], units: Sequence[int]) -> dict[str, list[Any]]:
    """The parameters of WANTED."""
    return {
        "quotas": [quota.name for quota in quotas],
        "amounts": [quota.amount for quota in quotas],
        "units": list(units),
        "per": [quota.per for quota in quotas],
        "periods": [quota.seconds for quota in quotas],
        "zones": [quota.zone for quota in quotas],
        "margins": [quota.margin for quota in quotas],
        "steps": [quota.step for quota in quotas],
    }


# Only upwards: what the vendor counted before other calls of ours arrived must not give back what they booked.
_CORRECT = f"""
    WITH w AS MATERIALIZED ({WANTED}),
    told AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(%(quotas)s AS text[]), CAST(%(lefts)s AS bigint[]), CAST(%(resets)s AS timestamptz[])
        ) AS t(quota_name, remaining, resets_at)
    ),
    counted AS MATERIALIZED (
        SELECT quota_name, expires, units FROM quotas
        WHERE provider = %(provider)s AND scope = %(scope)s AND quota_name = ANY(CAST(%(quotas)s AS text[]))
        ORDER BY quota_name FOR UPDATE
    ),
    locked AS MATERIALIZED (SELECT count(*) AS rows FROM counted),
    moment AS MATERIALIZED (SELECT clock_timestamp() AS clock FROM locked),
    entries AS MATERIALIZED (
        SELECT c.quota_name, CASE WHEN w.per IS NOT NULL AND t.resets_at > moment.clock
            THEN t.resets_at + make_interval(secs => w.margin) ELSE e.expires END AS expires, e.units
        FROM moment, counted c JOIN w USING (quota_name) JOIN told t USING (quota_name),
            unnest(c.expires, c.units) AS e(expires, units)
        WHERE e.expires > moment.clock
    ),
    missing AS (
        SELECT w.quota_name, {EXPIRY.format(at="moment.clock", resets_at="t.resets_at")} AS expires,
            w.amount - t.remaining - coalesce((SELECT sum(units) FROM entries e WHERE e.quota_name = w.quota_name), 0)
                AS units
        FROM moment, w JOIN told t USING (quota_name)
    ),
    merged AS (
        SELECT quota_name, expires, CAST(sum(units) AS bigint) AS units
        FROM (SELECT * FROM entries UNION ALL SELECT * FROM missing WHERE units > 0) AS a GROUP BY quota_name, expires
    )
    UPDATE quotas q SET
        resets_at = coalesce(t.resets_at, q.resets_at),
        expires = coalesce((SELECT array_agg(m.expires ORDER BY m.expires) FROM merged m
            WHERE m.quota_name = q.quota_name), '{{}}'),
        units = coalesce((SELECT array_agg(m.units ORDER BY m.expires) FROM merged m
            WHERE m.quota_name = q.quota_name), '{{}}')
    FROM told t
    WHERE q.provider = %(provider)s AND q.scope = %(scope)s AND q.quota_name = t.quota_name
"""

_ADD = f"""
    UPDATE quotas q SET
        expires = q.expires || {EXPIRY.format(at="clock_timestamp()", resets_at="q.resets_at")},
        units = q.units || w.units
    FROM ({WANTED}) AS w
    WHERE q.provider = %(provider)s AND q.scope = %(scope)s AND q.quota_name = w.quota_name AND w.units > 0
"""

_CREATE = """
    INSERT INTO quotas (provider, scope, quota_name, amount, expires, units)
    SELECT %(provider)s, %(scope)s, quota_name, amount, '{}', '{}'
    FROM unnest(CAST(%(quotas)s AS text[]), CAST(%(amounts)s AS bigint[])) AS a(quota_name, amount)
    ORDER BY quota_name
    ON CONFLICT DO NOTHING
"""


def create(engine: "sa.Engine", provider: str, scope: str, quotas: Sequence[Quota]) -> None:
    """Make the rows of quotas that are new."""
    asked = {"provider": provider, "scope": scope, **wanted(quotas, [0] * len(quotas))}
    gateway_connection.execute(
        engine, _CREATE, {name: asked[name] for name in ("provider", "scope", "quotas", "amounts")}
    )


def add(engine: "sa.Engine", provider: str, scope: str, quotas: Sequence[Quota], units: int) -> None:
    """Book `units` more of the weighted quotas, whether or not they fit: a call did cost more than was expected."""
    weighted = [quota for quota in quotas if quota.weighted]
    if weighted and units > 0:
        asked = {"provider": provider, "scope": scope, **wanted(weighted, [units] * len(weighted))}
        gateway_connection.execute(engine, _ADD, asked)


def correct(
    engine: "sa.Engine", provider: str, scope: str, quotas: Sequence[Quota], readings: Sequence[Reading]
) -> None:
    """Count at least as much as the vendor does, until its own reset; readings of other names are ignored."""
    told = {reading.quota: reading for reading in readings}
    known = [quota for quota in quotas if quota.name in told]
    if not known:
        return
    create(engine, provider, scope, known)
    asked = {
        "provider": provider,
        "scope": scope,
        **wanted(known, [0] * len(known)),
        "lefts": [max(told[quota.name].left, 0) for quota in known],
        "resets": [told[quota.name].resets_at for quota in known],
    }
    gateway_connection.execute(engine, _CORRECT, asked)
