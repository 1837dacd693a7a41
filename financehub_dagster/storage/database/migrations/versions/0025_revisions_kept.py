"""A table that says since when revisions are kept."""

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the table; what was deleted before is not known, and counts as never kept."""
    comment = "the newest revision that was deleted was made then"
    op.create_table(
        "revisions_kept",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment=comment),
        sa.PrimaryKeyConstraint("table_name", name="revisions_kept_pkey"),
        comment="Since when a table can be read as of a time: revisions from before are deleted after a while.",
    )


def downgrade() -> None:
    """Drop the function that reads it, and the table."""
    op.execute("DROP FUNCTION IF EXISTS as_of_is_known(text, timestamp with time zone) CASCADE")
    op.drop_table("revisions_kept")
