"""Daily bars say which quality rules make them doubtful, in `flags`; the rule about their range is named after it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: None = None
depends_on: None = None

_TABLES = ("stock_prices_daily", "crypto_prices_daily", "fx_prices_daily")
_COMMENT = "the quality rules that make the bar doubtful; nearly always empty"


def upgrade() -> None:
    """Add the column; its default is constant, so that no row is rewritten, however large the table is."""
    for table in _TABLES:
        column: sa.Column[list[str]] = sa.Column(
            "flags", ARRAY(sa.Text()), nullable=False, server_default=sa.text("'{}'"), comment=_COMMENT
        )
        op.add_column(table, column)
    op.execute("UPDATE rejected_rows SET rule = 'outside_range' WHERE rule = 'enclosed'")


def downgrade() -> None:
    """Drop the column."""
    for table in _TABLES:
        op.drop_column(table, "flags")
    op.execute("UPDATE rejected_rows SET rule = 'enclosed' WHERE rule = 'outside_range'")
