"""The state of the circuit breakers, shared by every process.

Belongs here: reading and moving that state on the database's clock. Does not belong here: deciding what counts as a
failure. A call has to pass several breakers, such as the one of its capability and ANY, that of all a provider offers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

ANY = "*"


@dataclass(frozen=True, slots=True)
class Admission:
    """May a call go out? `probes` names the half-open breakers it has to prove; `until` and `reason` say why not."""

    allowed: bool
    probes: tuple[str, ...] = ()
    until: datetime | None = None
    reason: str | None = None


_READ = sa.text(
    """
    SELECT capability, open_until, probe_until, reason, clock_timestamp() AS clock FROM breakers
    WHERE provider = :provider AND capability = ANY(CAST(:capabilities AS text[])) AND open_until IS NOT NULL
    ORDER BY capability
    """
)

_CLAIM = sa.text(
    """
    UPDATE breakers SET probe_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE provider = :provider AND capability = :capability AND open_until <= clock_timestamp()
      AND (probe_until IS NULL OR probe_until <= clock_timestamp())
    RETURNING capability
    """
)

_CLOSE = sa.text(
    """
    UPDATE breakers SET failures = 0, open_until = NULL, probe_until = NULL, reason = NULL
    WHERE provider = :provider AND capability = ANY(CAST(:capabilities AS text[]))
    """
)

_FORGIVE = sa.text(
    """
    UPDATE breakers SET failures = 0
    WHERE provider = :provider AND capability = :capability AND open_until IS NULL AND failures > 0
    """
)

_FAIL = sa.text(
    """
    INSERT INTO breakers AS b (provider, capability, failures, open_until, reason)
    VALUES (:provider, :capability, 1,
            CASE WHEN :threshold <= 1 THEN clock_timestamp() + make_interval(secs => :open_seconds) END, :reason)
    ON CONFLICT (provider, capability) DO UPDATE SET
        failures = b.failures + 1,
        open_until = CASE
            WHEN b.failures + 1 >= :threshold THEN greatest(b.open_until, clock_timestamp() + make_interval(
                secs => :open_seconds * power(2, least(b.failures + 1 - :threshold, :doublings))))
            ELSE b.open_until END,
        probe_until = NULL,
        reason = excluded.reason
    """
)

_HOLD = sa.text(
    """
    INSERT INTO breakers AS b (provider, capability, open_until, reason)
    VALUES (:provider, :capability, clock_timestamp() + make_interval(secs => :seconds), :reason)
    ON CONFLICT (provider, capability) DO UPDATE SET
        open_until = greatest(b.open_until, excluded.open_until), probe_until = NULL, reason = excluded.reason
    """
)

DOUBLINGS = 4
"""A breaker that keeps failing its probe stays open for up to 2**4 times its first time."""


def look(engine: sa.Engine, provider: str, capabilities: Sequence[str]) -> Admission:
    """Is the way past all these breakers open, without claiming anything? A half-open breaker says yes."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        rows = connection.execute(_READ, {"provider": provider, "capabilities": list(capabilities)}).all()
    shut = [row for row in rows if row.open_until > row.clock]
    if not shut:
        return Admission(True)
    last = max(shut, key=lambda row: row.open_until)
    return Admission(False, until=last.open_until, reason=last.reason)


def admit(engine: sa.Engine, provider: str, capabilities: Sequence[str], probe_seconds: float) -> Admission:
    """Ask to send one call past these breakers; of those that find one half-open exactly one passes, as its probe.

    A probe that is not heard of again within `probe_seconds` counts as lost, and the next caller may try.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        admission = _admit_once(connection, provider, capabilities, probe_seconds)
        if not admission.allowed and admission.until is None:  # it closed between the look and the claim: look again
            admission = _admit_once(connection, provider, capabilities, probe_seconds)
    return admission


def _admit_once(
    connection: sa.Connection, provider: str, capabilities: Sequence[str], probe_seconds: float
) -> Admission:
    rows = connection.execute(_READ, {"provider": provider, "capabilities": list(capabilities)}).all()
    shut = [row for row in rows if row.open_until > row.clock]
    if shut:
        last = max(shut, key=lambda row: row.open_until)
        return Admission(False, until=last.open_until, reason=last.reason)
    for row in rows:
        asked = {"provider": provider, "capability": row.capability, "seconds": probe_seconds}
        if connection.execute(_CLAIM, asked).first() is None:
            return Admission(False, until=row.probe_until, reason=f"one call is probing it ({row.reason})")
    return Admission(True, probes=tuple(row.capability for row in rows))


def succeed(engine: sa.Engine, provider: str, capability: str, probes: tuple[str, ...] = ()) -> None:
    """The vendor answered: forget the failures so far, and close the breakers this call was the probe of."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if probes:
            connection.execute(_CLOSE, {"provider": provider, "capabilities": list(probes)})
        connection.execute(_FORGIVE, {"provider": provider, "capability": capability})


def fail(
    engine: sa.Engine, provider: str, capability: str, reason: str, *, threshold: int, open_seconds: float
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
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_FAIL, asked)


def hold(engine: sa.Engine, provider: str, capability: str, reason: str, seconds: float) -> None:
    """Open the breaker for `seconds` at once: the vendor asked for silence."""
    asked = {"provider": provider, "capability": capability, "reason": reason, "seconds": seconds}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_HOLD, asked)
