"""Values that another vendor has otherwise than they are stored."""

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "discrepancies",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("column_name", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False, comment="the provider that was compared with"),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="value; basis or unit: of all closes, the newest is named"
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="the provider of the stored value"),
        sa.Column("stored", sa.Double(), nullable=False),
        sa.Column("told", sa.Double(), nullable=False, comment="the value of the provider that was compared with"),
        sa.Column("off", sa.Text(), comment="the provider that two others disagree with; NULL: not known"),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("run_id", sa.Text()),
        sa.PrimaryKeyConstraint("table_name", "symbol", "date", "column_name", "vendor", name="discrepancies_pkey"),
        comment="Values that another vendor has otherwise than they are stored, as last compared.",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("discrepancies")
