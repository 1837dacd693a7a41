"""Say of each column of coverage what it means: the table is an asset that the webserver shows."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: None = None
depends_on: None = None

_MEANINGS: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
    "table_name": (sa.Text(), "the table it is about"),
    "symbol": (sa.Text(), "the instrument"),
    "settled_at": (sa.DateTime(timezone=True), "when it was computed"),
}


def upgrade() -> None:
    """Comment on what had no comment."""
    for name, (kind, meaning) in _MEANINGS.items():
        op.alter_column("coverage", name, existing_type=kind, existing_nullable=False, comment=meaning)


def downgrade() -> None:
    """Take the comments away."""
    for name, (kind, meaning) in _MEANINGS.items():
        op.alter_column(
            "coverage", name, existing_type=kind, existing_nullable=False, comment=None, existing_comment=meaning
        )
