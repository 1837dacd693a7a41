"""Quotas per minute, day and month, and what is known of API keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "quotas",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False, comment="ip, or a key's fingerprint"),
        sa.Column("quota_name", sa.Text(), nullable=False, comment="which of the provider's quotas"),
        sa.Column(
            "amount", sa.BigInteger(), nullable=False, comment="units in a window, as configured at the last booking"
        ),
        sa.Column(
            "expires",
            ARRAY(sa.DateTime(timezone=True)),
            nullable=False,
            comment="when each booking stops to count, in order",
        ),
        sa.Column("units", ARRAY(sa.BigInteger()), nullable=False, comment="units of each booking"),
        sa.Column("resets_at", sa.DateTime(timezone=True), comment="the reset the vendor named last"),
        sa.PrimaryKeyConstraint("provider", "scope", "quota_name", name="quotas_pkey"),
        comment="Requests or credits used per minute, day or month, on the database's clock, shared by every process.",
    )
    op.create_table(
        "api_keys",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False, comment="the key's fingerprint, never the key"),
        sa.Column("day", sa.Date(), comment="the UTC day of its last use"),
        sa.Column(
            "used",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="weight used on that day",
        ),
        sa.Column("benched_until", sa.DateTime(timezone=True), comment="not used before this"),
        sa.Column("cause", sa.Text(), comment="the name of the error it is benched for"),
        sa.Column("reason", sa.Text(), comment="what the vendor said, redacted"),
        sa.PrimaryKeyConstraint("provider", "scope", name="api_keys_pkey"),
        comment="API keys by fingerprint: how much each was used, and which are benched until when.",
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("api_keys")
    op.drop_table("quotas")
