"""A recomputed instrument keeps the version of its mark."""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Let a mark be clean."""
    op.alter_column(
        "dirty_marks",
        "dirty_from",
        existing_type=sa.Date(),
        nullable=True,
        comment="first session whose inputs changed; NULL: recomputed since",
    )


def downgrade() -> None:
    """Drop clean marks, and let there be none."""
    op.execute("DELETE FROM dirty_marks WHERE dirty_from IS NULL")
    op.alter_column(
        "dirty_marks",
        "dirty_from",
        existing_type=sa.Date(),
        nullable=False,
        comment="first session whose inputs changed",
    )
