"""An id of each instrument that stays, whatever symbol it has."""

from alembic import op

revision: str = "0032"
down_revision: str | None = "0031"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Give every instrument one."""
    op.execute("ALTER TABLE instruments ADD COLUMN permanent_id text NOT NULL DEFAULT gen_random_uuid()::text")
    op.execute("ALTER TABLE instruments ADD CONSTRAINT instruments_permanent_id_key UNIQUE (permanent_id)")
    op.execute("COMMENT ON COLUMN instruments.permanent_id IS 'made when it is added; stays when its symbol changes'")


def downgrade() -> None:
    """Drop the function that reads them, and the column."""
    op.execute("DROP FUNCTION IF EXISTS symbol_history()")
    op.execute("ALTER TABLE instruments DROP COLUMN permanent_id")
