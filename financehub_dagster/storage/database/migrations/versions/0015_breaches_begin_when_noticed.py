"""An SLA breach begins when it is noticed, on the database's clock."""

from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: None = None
depends_on: None = None

_PASSED, _NOTICED = "when the bound was passed", "when it was noticed that the bound had passed"


def upgrade() -> None:
    """Say so."""
    op.alter_column("sla_breaches", "began_at", comment=_NOTICED, existing_comment=_PASSED)


def downgrade() -> None:
    """Say what was meant before."""
    op.alter_column("sla_breaches", "began_at", comment=_PASSED, existing_comment=_NOTICED)
