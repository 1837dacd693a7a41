"""Instruments have a last day on which they were traded."""

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Add the column; nothing is delisted yet."""
    comment = "last day it was traded; no later session is expected"
    op.add_column("instruments", sa.Column("delisted_on", sa.Date(), comment=comment))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("instruments", "delisted_on")
