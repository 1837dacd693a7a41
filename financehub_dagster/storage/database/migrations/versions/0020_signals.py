"""A table of trading signals."""

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "signals",
        sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="session date"),
        sa.Column("rule", sa.Text(), nullable=False, comment="name of the rule; docs/signals.md lists all"),
        sa.Column(
            "direction",
            sa.Text(),
            nullable=False,
            comment="entry or exit; of candlesticks bullish, bearish or neutral",
        ),
        sa.Column(
            "value",
            sa.Double(),
            nullable=False,
            comment="what the rule looked at on that session; of candlesticks TA-Lib's score",
        ),
        sa.Column("level", sa.Double(), comment="what it was compared with; NULL for candlesticks"),
        sa.Column("price", sa.Double(), nullable=False, comment="close of the session, split-adjusted"),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False, comment="when the row was computed"),
        sa.PrimaryKeyConstraint("symbol", "date", "rule", name="signals_pkey"),
        comment="Trading signals: the sessions on which a declared rule fires.",
    )


def downgrade() -> None:
    """Drop the table, and what was withdrawn from it, which older programs do not know."""
    op.execute("DELETE FROM price_revisions WHERE table_name = 'signals'")
    op.execute("DELETE FROM dirty_marks WHERE table_name = 'signals'")
    op.drop_table("signals")
