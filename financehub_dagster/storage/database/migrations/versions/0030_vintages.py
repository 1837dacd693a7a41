"""A table of named times, as of which every table can be read."""

import sqlalchemy as sa
from alembic import op

revision: str = "0030"
down_revision: str | None = "0029"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "vintages",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False, comment="what was known then"),
        sa.Column("note", sa.Text, nullable=False, server_default="", comment="what it is for"),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("name", name="vintages_pkey"),
        comment="Named times as of which tables are read; revisions that one of them needs are kept.",
    )


def downgrade() -> None:
    """Drop the function that reads it, and the table."""
    op.execute("DROP FUNCTION IF EXISTS vintage(text)")
    op.drop_table("vintages")
