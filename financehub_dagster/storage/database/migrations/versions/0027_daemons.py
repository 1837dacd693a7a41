"""Daemons, and which one of them drives the platform."""

import sqlalchemy as sa
from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the table; it is empty until a daemon starts."""
    instant = sa.DateTime(timezone=True)
    now = sa.text("clock_timestamp()")
    op.create_table(
        "daemons",
        sa.Column("token", sa.Text, nullable=False, comment="made anew by each start of a platform"),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("home", sa.Text, nullable=False, comment="FINANCEHUB_HOME there"),
        sa.Column("process", sa.Text, nullable=False, comment="the process that started it, as JSON"),
        sa.Column("claims", sa.Boolean, nullable=False, comment="it is the one that may drive"),
        sa.Column("since", instant, nullable=False, server_default=now),
        sa.Column("seen_at", instant, nullable=False, server_default=now, comment="when it last renewed its claim"),
        sa.Column("beat_at", instant, comment="when Dagster's daemon there last wrote a heartbeat"),
        sa.PrimaryKeyConstraint("token", name="daemons_pkey"),
        comment="Dagster's daemons on this database; the one that claims it drives schedules, sensors and the queue.",
    )
    op.create_index("daemons_claims_key", "daemons", ["claims"], unique=True, postgresql_where=sa.text("claims"))


def downgrade() -> None:
    """Drop it."""
    op.drop_table("daemons")
