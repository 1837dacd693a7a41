"""`notifications`: which signals wait to be sent, who sends them, and what became of them.

Belongs here: the statements that queue, claim and settle notifications. Does not belong here: texts and delivery
(operations.notifications).

A row is claimed by one statement that is committed before its message is sent; whoever does not get the claim sends
nothing. A claim that nobody settled is never sent again: nobody knows whether its message left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa

from financehub_dagster.storage.database.array_parameters import arrays_of
from financehub_dagster.storage.database.engine import Connection

RECENT = timedelta(days=4)
"""Signals of older sessions are not announced: a backfill is no news. A long weekend fits in."""
LEASE = timedelta(minutes=10)
"""Who claims messages has this long to send them; a claim that is older was left behind."""

_RECENT = """
    from instruments i cross join lateral (
        select * from signals
        where signals.symbol = i.symbol and signals.date >= current_date - cast(:recent as interval)
            and signals.rule = any(cast(:rules as text[])) offset 0
    ) s
    where i.is_active
"""

_QUEUE = sa.text(f"""
    insert into notifications (symbol, date, rule, direction, price, state)
    select s.symbol, s.date, s.rule, s.direction, s.price, 'waiting' {_RECENT}
    order by s.symbol, s.date, s.rule on conflict do nothing
    """)

_WAITING = sa.text(f"""
    select (select count(*) from notifications where state = 'waiting') + (
        select count(*) {_RECENT} and not exists (
            select from notifications n where (n.symbol, n.date, n.rule) = (s.symbol, s.date, s.rule)))
    """)

_CLAIM = sa.text("""
    with due as (
        select symbol, date, rule from notifications where state = 'waiting'
        order by date desc, symbol, rule limit :most for update skip locked
    )
    update notifications n set state = 'sending', attempts = n.attempts + 1, claimed_at = now(), run_id = :run_id,
        settled_at = null, error = null
    from due where (n.symbol, n.date, n.rule) = (due.symbol, due.date, due.rule)
    returning n.symbol, n.date, n.rule, n.direction, n.price,
        (select currency from instruments i where i.symbol = n.symbol)
    """)

_SETTLE = sa.text("""
    update notifications n set state = :state, settled_at = now(), error = :error
    from unnest(cast(:symbol as text[]), cast(:date as date[]), cast(:rule as text[])) as own(symbol, date, rule)
    where (n.symbol, n.date, n.rule) = (own.symbol, own.date, own.rule)
        and n.run_id = :run_id and n.state in ('sending', 'unknown')
    """)

_ABANDON = sa.text("""
    update notifications set state = 'unknown', settled_at = now(),
        error = 'run ' || run_id || ' ended while it was sending: the message may have been delivered'
    where state = 'sending' and claimed_at < now() - cast(:lease as interval)
    """)

_REVIVE = sa.text("""
    update notifications set state = 'waiting'
    where state = 'failed' and symbol = any(cast(:symbols as text[]))
    """)

_FAILED = sa.text(
    "select distinct symbol from notifications where state = 'failed' and symbol = any(cast(:symbols as text[]))"
)

_COUNTS = sa.text("select state, count(*) as rows from notifications group by state order by state")


@dataclass(frozen=True)
class Claimed:
    """A notification that the caller alone may send."""

    symbol: str
    date: date
    rule: str
    direction: str
    price: float
    currency: str


def queue(connection: Connection, rules: Sequence[str]) -> int:
    """Have the recent signals of these rules wait that were never queued before; returns how many."""
    return connection.execute(_QUEUE, {"rules": list(rules), "recent": RECENT}).rowcount


def count_waiting(connection: Connection, rules: Sequence[str]) -> int:
    """How many notifications wait, those that are not queued yet included."""
    found: int = connection.execute(_WAITING, {"rules": list(rules), "recent": RECENT}).scalar_one()
    return found


def claim(connection: Connection, run_id: str, most: int) -> list[Claimed]:
    """Take at most so many that wait, newest session first; commit before they are sent."""
    rows = connection.execute(_CLAIM, {"run_id": run_id, "most": most})
    return sorted((Claimed(*row) for row in rows), key=lambda each: (each.symbol, each.date, each.rule))


def settle(
    connection: Connection, run_id: str, claimed: Sequence[Claimed], state: str, error: str | None = None
) -> None:
    """Write down what became of messages that `run_id` has claimed."""
    keys = arrays_of(claimed, "symbol", "date", "rule")
    connection.execute(_SETTLE, {"run_id": run_id, "state": state, "error": error, **keys})


def abandon(connection: Connection) -> int:
    """Give up on claims that nobody settled in time; returns how many."""
    return connection.execute(_ABANDON, {"lease": LEASE}).rowcount


def revive(connection: Connection, symbols: Sequence[str]) -> None:
    """Have notifications of `symbols` wait again whose delivery has failed."""
    connection.execute(_REVIVE, {"symbols": list(symbols)})


def symbols_with_failed(connection: Connection, symbols: Sequence[str]) -> set[str]:
    """Those of `symbols` that have a notification whose delivery failed, and that nobody has sent since."""
    return set(connection.execute(_FAILED, {"symbols": list(symbols)}).scalars())


def counts(connection: Connection) -> dict[str, int]:
    """How many notifications are in each state."""
    return {row.state: row.rows for row in connection.execute(_COUNTS)}
