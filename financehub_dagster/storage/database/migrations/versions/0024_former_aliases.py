"""Instruments keep the names that they gave up."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Add the column, and an index of the few instruments that have such names."""
    comment = "names given up: provider (financehub: ours) -> list of symbol, from (null: the beginning), until"
    column = sa.Column(
        "former_aliases",
        postgresql.JSONB(),
        nullable=False,
        server_default=sa.text("'{}'::jsonb"),
        comment=comment,
    )
    op.add_column("instruments", column)
    op.create_index(
        "instruments_renamed_idx",
        "instruments",
        ["symbol"],
        postgresql_where=sa.text("former_aliases <> '{}'::jsonb"),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_index("instruments_renamed_idx", "instruments")
    op.drop_column("instruments", "former_aliases")
