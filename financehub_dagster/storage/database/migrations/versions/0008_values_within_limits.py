"""Values that no schema takes, stored before rows were judged by it: unknown where they may be, else rejected rows."""

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: None = None
depends_on: None = None

POSITIVE = {
    "stock_prices_daily": ("adj_close",),
    "crypto_prices_daily": ("adj_close",),
    "quotes": ("open", "high", "low", "previous_close"),
    "fundamentals": ("market_cap", "shares_outstanding", "high_52w", "low_52w"),
}
NOT_NEGATIVE = {
    "quotes": ("volume",),
    "crypto_markets": ("market_cap", "volume_24h", "circulating_supply", "total_supply", "max_supply"),
    "fundamentals": ("dividend_per_share", "dividend_yield"),
}


def upgrade() -> None:
    """Let no stored row fail the blocking check of its table for ever."""
    for table in sorted({*POSITIVE, *NOT_NEGATIVE}):
        wrong = {name: f"{name} <= 0" for name in POSITIVE.get(table, ())}
        wrong |= {name: f"{name} < 0" for name in NOT_NEGATIVE.get(table, ())}
        unknown = ", ".join(
            f"{name} = CASE WHEN {is_wrong} THEN NULL ELSE {name} END" for name, is_wrong in wrong.items()
        )
        op.execute(sa.text(f"UPDATE {table} SET {unknown} WHERE {' OR '.join(wrong.values())}"))
    op.execute(
        sa.text("""
            WITH moved AS (DELETE FROM corporate_actions WHERE value <= 0 RETURNING *)
            INSERT INTO rejected_rows (table_name, symbol, date, rule, row, source, run_id)
            SELECT 'corporate_actions', symbol, date, 'value_positive',
                jsonb_build_object('kind', kind, 'value', value), source, NULL
            FROM moved
            ON CONFLICT DO NOTHING
        """)
    )


def downgrade() -> None:
    """Nothing: the values were no values."""
