"""`notifications`: which signals people are told of, and what became of each message."""

from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import SESSION, SYMBOL, positive
from financehub_dagster.tables.declaration import Column, Maintained, Table

STATES = ("waiting", "sending", "delivered", "dry_run", "failed", "unknown")

TABLE = Table(
    name="notifications",
    comment="Signals that people are told of: one row per rule, instrument and session, sent at most once.",
    columns=(
        SYMBOL,
        SESSION,
        Column("rule", "text", "the rule that fired", key=True),
        Column("direction", "text", "what the signal says"),
        positive("price", "close of the session"),
        Column("state", "text", "what became of it; docs/signals.md explains the states", choices=STATES),
        Column("attempts", "integer", "how often it was tried to be sent", default="0"),
        Column("queued_at", "timestamp with time zone", "when it was found", default="now()"),
        Column("claimed_at", "timestamp with time zone", "when a run last began to send it", nullable=True),
        Column("settled_at", "timestamp with time zone", "when its state was last decided", nullable=True),
        Column("error", "text", "why it was not delivered", nullable=True),
        Column("run_id", "text", "the run that sends or sent it", nullable=True),
    ),
    grain="none",
    filled=Maintained(after=("signals", "position_sizes")),
    group="signals",
    source=("apprise",),
    details="A row is claimed in the database before its message is sent, so that a run that is killed, repeated or"
    " doubled sends nothing twice. Without an address in FINANCEHUB_ALERT_URLS nothing is sent: the row is stored as a"
    " dry run.",
    checks=defaults.CHECKS,
)
