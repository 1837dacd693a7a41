"""How many calls each vendor got, by day and outcome.

Belongs here: counting and reading the counts. Does not belong here: limits, which keep their own rows.
"""

from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from financehub_dagster.storage import quick
from financehub_dagster.storage.tables import api_usage

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
    INSERT INTO api_usage AS u (provider, scope, day, outcome, calls, weight)
    VALUES (%(provider)s, %(scope)s, CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date), %(outcome)s, 1, %(weight)s)
    ON CONFLICT (provider, scope, day, outcome) DO UPDATE SET
        calls = u.calls + 1, weight = u.weight + excluded.weight
"""


def count(engine: sa.Engine, provider: str, scope: str, outcome: str, weight: int = 1) -> None:
    """Add one call of `weight` to today's count, in a transaction of its own."""
    asked = {"provider": provider, "scope": scope, "outcome": outcome, "weight": weight}
    quick.execute(engine, _COUNT, asked)


def read(engine: sa.Engine, since: date) -> list[Usage]:
    """The counts from `since` on, latest day first."""
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
