"""Say of the prices of fx_prices_daily what they are: rates of exchange, which know no splits and no dividends."""

import sqlalchemy as sa
from alembic import op

revision: str = "0029"
down_revision: str | None = "0028"
branch_labels: None = None
depends_on: None = None

_RATE = "units of the second currency for one of the first"
_MEANINGS = {
    "open": ("split-adjusted", _RATE),
    "high": ("split-adjusted", _RATE),
    "low": ("split-adjusted", _RATE),
    "close": ("split-adjusted, not adjusted for dividends", f"{_RATE}, at the end of the session"),
    "adj_close": ("adjusted for splits and dividends", "equal to close: a pair has no splits and no dividends"),
    "volume": ("units traded", "units traded; 0 where the vendor has none"),
}


def upgrade() -> None:
    """Comment on the columns anew."""
    for name, (before, after) in _MEANINGS.items():
        _explain(name, before, after)


def downgrade() -> None:
    """Say again what is said of shares."""
    for name, (before, after) in _MEANINGS.items():
        _explain(name, after, before)


def _explain(name: str, before: str, after: str) -> None:
    op.alter_column("fx_prices_daily", name, existing_type=sa.Double(), existing_comment=before, comment=after)
