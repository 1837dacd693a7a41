"""Say of each column of api_usage what it means: the table is an asset that the webserver shows."""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None

_MEANINGS: dict[str, tuple[sa.types.TypeEngine[str] | sa.types.TypeEngine[int], str]] = {
    "provider": (sa.Text(), "the vendor"),
    "calls": (sa.BigInteger(), "requests that left, whatever came back"),
    "weight": (sa.BigInteger(), "what they cost in the vendor's units"),
}


def upgrade() -> None:
    """Comment on what had no comment."""
    for name, (kind, meaning) in _MEANINGS.items():
        op.alter_column("api_usage", name, existing_type=kind, existing_nullable=False, comment=meaning)


def downgrade() -> None:
    """Take the comments away."""
    for name, (kind, meaning) in _MEANINGS.items():
        op.alter_column(
            "api_usage", name, existing_type=kind, existing_nullable=False, comment=None, existing_comment=meaning
        )
