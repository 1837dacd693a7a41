"""The state of the circuit breakers, shared by every process.

Belongs here: reading and moving that state on the database's clock. Does not belong here: deciding what counts as a
failure. A call has to pass several breakers, such as the one of its capability and ANY, that of all a provider offers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from financehub_dagster.storage.rate_limits import gateway_connection

if TYPE_CHECKING:
    import sqlalchemy as sa

ANY = "*"


@dataclass(frozen=True, slots=True)
class Admission:
    """May a call go out? `probes` names the half-open breakers it has to prove; `until` and `reason` say why not.

    probe_left: seconds after which a probe that another call makes counts as lost; None where none is under way.
    """

    probes: tuple[str, ...] = ()
    until: datetime | None = None
    reason: str | None = None
    probe_left: float | None = None

    @property
    def allowed(self) -> bool:
        """May it go out now?"""
        return self.until is None


_READ = """
    SELECT capability, open_until, probe_until, coalesce(reason, 'no reason was kept'), clock_timestamp() AS clock
    FROM breakers
    WHERE provider = %(provider)s AND capability = ANY(CAST(%(capabilities)s AS text[])) AND open_until IS NOT NULL
    ORDER BY capability
    """

_CLAIM = """
    UPDATE breakers SET probe_until = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE provider = %(provider)s AND capability = %(capability)s AND open_until <= clock_timestamp()
      AND (probe_until IS NULL OR probe_until <= clock_timestamp())
    RETURNING capability
    """

_UNCLAIM = """
    UPDATE breakers SET probe_until = NULL
    WHERE provider = %(provider)s AND capability = ANY(CAST(%(capabilities)s AS text[]))
    """

_CLOSE = """
    UPDATE breakers SET failures = 0, open_until = NULL, probe_until = NULL, reason = NULL
    WHERE provider = %(provider)s AND capability = ANY(CAST(%(capabilities)s AS text[]))
    """

FORGIVE = """
    UPDATE breakers SET failures = 0
    WHERE provider = %(provider)s AND capability = %(capability)s AND open_until IS NULL AND failures > 0
    """

_FAIL = """
    INSERT INTO breakers AS b (provider, capability, failures, open_until, reason)
    VALUES (%(provider)s, %(capability)s, 1,
            CASE WHEN %(threshold)s <= 1 THEN clock_timestamp() + make_interval(secs => %(open_seconds)s) END,
            %(reason)s)
    ON CONFLICT (provider, capability) DO UPDATE SET
        failures = b.failures + 1,
        open_until = CASE
            WHEN b.failures + 1 >= %(threshold)s THEN greatest(b.open_until, clock_timestamp() + make_interval(
                secs => %(open_seconds)s * power(2, least(b.failures + 1 - %(threshold)s, %(doublings)s))))
            ELSE b.open_until END,
        probe_until = NULL,
        reason = excluded.reason
    """

_HOLD = """
    INSERT INTO breakers AS b (provider, capability, open_until, reason)
    VALUES (%(provider)s, %(capability)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(reason)s)
    ON CONFLICT (provider, capability) DO UPDATE SET
        open_until = greatest(b.open_until, excluded.open_until), probe_until = NULL, reason = excluded.reason
    """


@dataclass(frozen=True, slots=True)
class _Open:
    """A breaker that is open or half-open, and the database's clock when it was read."""

    capability: str
    open_until: datetime
    probe_until: datetime | None
    reason: str
    clock: datetime


DOUBLINGS = 4
"""A breaker that keeps failing its probe stays open for up to 2**4 times its first time."""


def _read(engine: "sa.Engine", provider: str, capabilities: Sequence[str]) -> list[_Open]:
    rows = gateway_connection.execute(engine, _READ, {"provider": provider, "capabilities": list(capabilities)})
    return [_Open(*row) for row in rows]


def look(engine: "sa.Engine", provider: str, capabilities: Sequence[str]) -> Admission:
    """Is the way past all these breakers open? Claims nothing: `probes` are those that a call would have to prove."""
    return _found(_read(engine, provider, capabilities))


def _found(rows: Sequence[_Open]) -> Admission:
    shut = [row for row in rows if row.open_until > row.clock]
    if shut:
        last = max(shut, key=lambda row: row.open_until)
        return Admission(until=last.open_until, reason=last.reason)
    probed = [(row.probe_until, row) for row in rows if row.probe_until is not None and row.probe_until > row.clock]
    if probed:
        until, row = max(probed, key=lambda each: each[0])
        left = (until - row.clock).total_seconds()
        return Admission(until=until, reason=f"one call is probing it ({row.reason})", probe_left=left)
    return Admission(probes=tuple(row.capability for row in rows))


def admit(engine: "sa.Engine", provider: str, capabilities: Sequence[str], probe_seconds: float) -> Admission:
    """Ask to send one call past these breakers; of those that find one half-open exactly one passes, as its probe.

    A probe that is not heard of again within `probe_seconds` counts as lost, and the next caller may try.
    """
    while True:
        admission = look(engine, provider, capabilities)
        if _claim(engine, provider, admission.probes, probe_seconds):
            return admission


def _claim(engine: "sa.Engine", provider: str, capabilities: Sequence[str], seconds: float) -> bool:
    """Make a call the probe of all these, or of none where one has changed since it was read."""
    for position, capability in enumerate(capabilities):
        asked = {"provider": provider, "capability": capability, "seconds": seconds}
        if not gateway_connection.execute(engine, _CLAIM, asked):
            if position:
                claimed = list(capabilities[:position])
                gateway_connection.execute(engine, _UNCLAIM, {"provider": provider, "capabilities": claimed})
            return False
    return True


def succeed(engine: "sa.Engine", provider: str, capability: str, probes: tuple[str, ...] = ()) -> None:
    """The vendor answered: forget the failures so far, and close the breakers this call was the probe of."""
    if probes:
        gateway_connection.execute(engine, _CLOSE, {"provider": provider, "capabilities": list(probes)})
    gateway_connection.execute(engine, FORGIVE, {"provider": provider, "capability": capability})


def fail(
    engine: "sa.Engine", provider: str, capability: str, reason: str, *, threshold: int, open_seconds: float
) -> None:
    """One more failed call in a row; from the `threshold`-th on the breaker opens, for longer each time."""
    asked = {
        "provider": provider,
        "capability": capability,
        "reason": reason,
        "threshold": threshold,
        "open_seconds": open_seconds,
        "doublings": DOUBLINGS,
    }
    gateway_connection.durable(engine, _FAIL, asked)


def hold(engine: "sa.Engine", provider: str, capability: str, reason: str, seconds: float) -> None:
    """Open the breaker for `seconds` at once: the vendor asked for silence."""
    asked = {"provider": provider, "capability": capability, "reason": reason, "seconds": seconds}
    gateway_connection.durable(engine, _HOLD, asked)
