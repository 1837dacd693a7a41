"""Daily bars with their repairs, beside the stored ones; views put the two together (`repaired_views`)."""

import sqlalchemy as sa
from alembic import op

revision: str = "0028"
down_revision: str | None = "0027"
branch_labels: None = None
depends_on: None = None

_TABLES = ("stock_prices_daily", "crypto_prices_daily", "fx_prices_daily")


def upgrade() -> None:
    """Create the table; bars that are stored already are repaired after the migration."""
    op.create_table(
        "repaired_bars",
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("date", sa.Date, nullable=False),
        sa.Column("open", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("close", sa.Double, nullable=False),
        sa.Column("adj_close", sa.Double),
        sa.Column("volume", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("table_name", "symbol", "date", name="repaired_bars_pkey"),
        comment="Daily bars with the repairs that have one right answer, where a bar has one or is moved by one.",
    )


def downgrade() -> None:
    """Drop it, and the views that read it."""
    for table in _TABLES:
        op.execute(f"DROP VIEW IF EXISTS {table}_repaired")
    op.drop_table("repaired_bars")
