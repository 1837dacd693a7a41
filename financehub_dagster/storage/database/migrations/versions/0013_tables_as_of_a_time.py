"""Revisions can be found by their time, to read tables as of one; indicators keep revisions of what changes."""

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: None = None
depends_on: None = None

_COMMENTS = {
    "old": (
        "the replaced row, all columns but symbol and date",
        "the replaced row without symbol and date; of computed tables what changed",
    ),
    "withdrawn_by": (
        "the provider that no longer tells of the row; NULL: another value replaced it",
        "the provider, or the input table, that no longer has the row; NULL: it was replaced",
    ),
}


def upgrade() -> None:
    """Index the times of revisions; the index is small, since revisions are stored in the order of their times."""
    op.create_index("price_revisions_replaced_at_idx", "price_revisions", ["replaced_at"], postgresql_using="brin")
    for column, (_, comment) in _COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN price_revisions.{column} IS '{comment}'")


def downgrade() -> None:
    """Drop the index, and the revisions of indicators, which older programs do not know."""
    op.execute("DELETE FROM price_revisions WHERE table_name = 'indicators_daily'")
    op.drop_index("price_revisions_replaced_at_idx", "price_revisions")
    for column, (comment, _) in _COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN price_revisions.{column} IS '{comment}'")
