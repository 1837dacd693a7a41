"""Histories whose adjusted closes went stale at a dividend are marked, to be fetched again."""

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: None = None
depends_on: None = None

# Between two stored sessions the ratio of adjusted close to close steps by the payments between them, and by no more.
_MARK = """
    INSERT INTO dirty_marks (table_name, symbol, dirty_from)
    SELECT 'stock_prices_daily', symbol, min(first) FROM (
        SELECT symbol, date, adj_close / close AS ratio, min(date) OVER history AS first,
            lag(date) OVER history AS before, lag(close) OVER history AS close_before,
            lag(adj_close / close) OVER history AS ratio_before
        FROM stock_prices_daily WHERE close > 0 AND adj_close > 0
        WINDOW history AS (PARTITION BY symbol ORDER BY date)
    ) AS bars CROSS JOIN LATERAL (
        SELECT coalesce(sum(value), 0) AS paid FROM corporate_actions AS actions
        WHERE actions.symbol = bars.symbol AND kind <> 'split' AND actions.date > before AND actions.date <= bars.date
    ) AS cash
    WHERE paid < close_before AND abs(ratio_before / ratio / (1 - paid / close_before) - 1) > 0.0005
    GROUP BY symbol
    ON CONFLICT (table_name, symbol) DO NOTHING
"""


def upgrade() -> None:
    """Mark every instrument with a step that no stored payment explains, or a payment without its step."""
    op.execute(_MARK)
    op.execute("COMMENT ON TABLE dirty_marks IS 'Instruments whose derived or adjusted rows are stale from a date on.'")
    column = "COMMENT ON COLUMN dirty_marks.table_name IS 'the table that has to be recomputed, or fetched again'"
    op.execute(column)


def downgrade() -> None:
    """Forget the marks."""
    op.execute("DELETE FROM dirty_marks WHERE table_name = 'stock_prices_daily'")
    op.execute("COMMENT ON TABLE dirty_marks IS 'Instruments whose derived rows are stale from a date on.'")
    op.execute("COMMENT ON COLUMN dirty_marks.table_name IS 'the derived table that has to be recomputed'")
