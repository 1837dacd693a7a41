"""Tables of holdings, of position sizes, and of notifications with what became of each message."""

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: None = None
depends_on: None = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _holdings()
    _position_sizes()
    op.create_table(
        "notifications",
        sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="session date"),
        sa.Column("rule", sa.Text(), nullable=False, comment="the rule that fired"),
        sa.Column("direction", sa.Text(), nullable=False, comment="what the signal says"),
        sa.Column("price", sa.Double(), nullable=False, comment="close of the session"),
        sa.Column("state", sa.Text(), nullable=False, comment="what became of it; docs/signals.md explains the states"),
        sa.Column(
            "attempts",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="how often it was tried to be sent",
        ),
        sa.Column("queued_at", _INSTANT, nullable=False, server_default=sa.text("now()"), comment="when it was found"),
        sa.Column("claimed_at", _INSTANT, comment="when a run last began to send it"),
        sa.Column("settled_at", _INSTANT, comment="when its state was last decided"),
        sa.Column("error", sa.Text(), comment="why it was not delivered"),
        sa.Column("run_id", sa.Text(), comment="the run that sends or sent it"),
        sa.PrimaryKeyConstraint("symbol", "date", "rule", name="notifications_pkey"),
        comment="Signals that people are told of: one row per rule, instrument and session, sent at most once.",
    )
    op.create_index(
        "notifications_unsettled_idx",
        "notifications",
        ["state"],
        postgresql_where=sa.text("state in ('waiting','sending','failed')"),
    )


def _holdings() -> None:
    op.create_table(
        "holdings",
        sa.Column("account", sa.Text(), nullable=False, comment="a name of your choice"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument"),
        sa.Column("opened_on", sa.Date(), nullable=False, comment="the day of the trade"),
        sa.Column(
            "quantity",
            sa.Double(),
            nullable=False,
            comment="units traded on that day, negative for a short position",
        ),
        sa.Column(
            "cost",
            sa.Double(),
            nullable=False,
            comment="paid for one unit on that day, in the instrument's currency",
        ),
        sa.PrimaryKeyConstraint("account", "symbol", "opened_on", name="holdings_pkey"),
        comment="What is held in which account: one row per lot.",
    )


def _position_sizes() -> None:
    op.create_table(
        "position_sizes",
        sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="session date"),
        sa.Column("rule", sa.Text(), nullable=False, comment="the rule that fired"),
        sa.Column("currency", sa.Text(), nullable=False, comment="ISO 4217, of all money in the row"),
        sa.Column("equity", sa.Double(), nullable=False, comment="what the sizes are a part of"),
        sa.Column("price", sa.Double(), nullable=False, comment="close of the session"),
        sa.Column("held", sa.Double(), nullable=False, comment="units held in all accounts"),
        sa.Column(
            "fixed_fraction_units",
            sa.Double(),
            nullable=False,
            comment="units that cost the configured fraction of equity",
        ),
        sa.Column("atr", sa.Double(), comment="average true range of 14 sessions"),
        sa.Column("stop", sa.Double(), comment="price at which the configured risk is lost; NULL without an ATR"),
        sa.Column("atr_risk_units", sa.Double(), comment="units that lose the configured risk at the stop"),
        sa.Column("computed_at", _INSTANT, nullable=False, comment="when the row was computed"),
        sa.PrimaryKeyConstraint("symbol", "date", "rule", name="position_sizes_pkey"),
        comment="How large a position is, by two rules, for each recent signal to enter.",
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("notifications", "position_sizes", "holdings"):
        op.drop_table(table)
