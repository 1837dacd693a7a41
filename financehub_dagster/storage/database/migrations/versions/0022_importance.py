"""Instruments have an importance, computed daily."""

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Add the column; instruments without one are ordered by market cap behind the others."""
    comment = "from 1 to 9, computed daily from holdings, market cap and volatility; NULL: not yet"
    op.add_column("instruments", sa.Column("importance", sa.Double(), comment=comment))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("instruments", "importance")
