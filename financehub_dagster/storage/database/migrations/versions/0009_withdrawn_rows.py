"""A revision says who no longer tells of a row that was taken out of its table."""

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: None = None
depends_on: None = None

_COMMENT = "Every value that was replaced{}, so that a table can be read as it was known at a time."
_REPLACED = _COMMENT.format("")
_OR_WITHDRAWN = _COMMENT.format(" or taken back")


def upgrade() -> None:
    """Name the provider of a row that was taken back."""
    comment = "the provider that no longer tells of the row; NULL: another value replaced it"
    op.add_column("price_revisions", sa.Column("withdrawn_by", sa.Text(), comment=comment))
    op.create_table_comment("price_revisions", _OR_WITHDRAWN, existing_comment=_REPLACED)


def downgrade() -> None:
    """Forget which rows were taken back rather than replaced."""
    op.create_table_comment("price_revisions", _REPLACED, existing_comment=_OR_WITHDRAWN)
    op.drop_column("price_revisions", "withdrawn_by")
