"""Which bars of each vendor were compared, and which have an error."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE, JSONB

revision: str = "0031"
down_revision: str | None = "0030"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "measured_bars",
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("vendor", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False, comment="compared: all of them; else a kind of error"),
        sa.Column(
            "decided",
            sa.Boolean,
            nullable=False,
            comment="false: two vendors differ, and no third one tells who is off",
        ),
        sa.Column("sessions", DATEMULTIRANGE, nullable=False),
        sa.Column("bars", sa.Integer, nullable=False, comment="the number of sessions"),
        sa.Column("example", JSONB, comment="date, column, told, other and against (whom) of the newest of them"),
        sa.Column(
            "compared_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="when it was last",
        ),
        sa.Column("run_id", sa.Text),
        sa.PrimaryKeyConstraint("table_name", "symbol", "vendor", "kind", "decided", name="measured_bars_pkey"),
        comment="Sessions of which a vendor's bars were compared, and those with an error of each kind.",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("measured_bars")
