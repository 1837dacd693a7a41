"""Hourly indicators."""

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: None = None
depends_on: None = None

_INSTANT = sa.DateTime(timezone=True)
_COLUMNS = {
    "sma_20": "Simple moving average of close over 20 bars",
    "sma_50": "Simple moving average of close over 50 bars",
    "sma_200": "Simple moving average of close over 200 bars",
    "ema_12": "Exponential moving average of close over 12 bars",
    "ema_26": "Exponential moving average of close over 26 bars",
    "rsi_14": "Relative strength index",
    "macd": "EMA 12 less EMA 26 of close",
    "macd_signal": "EMA 9 of macd",
    "macd_hist": "macd less macd_signal",
    "bb_upper": "Bollinger band: bb_middle + 2 standard deviations",
    "bb_middle": "Bollinger band: mean close of 20 bars",
    "bb_lower": "Bollinger band: bb_middle - 2 standard deviations",
    "atr_14": "Average true range",
    "adx_14": "Average directional index",
    "stoch_k": "Slow stochastic %K: 14 bars, smoothed by 3",
    "stoch_d": "Slow stochastic %D: mean of 3 stoch_k",
    "cci_20": "Commodity channel index",
    "obv": "On-balance volume since the first stored bar",
    "mfi_14": "Money flow index",
    "willr_14": "Williams' %R",
    "roc_10": "Rate of change of close over 10 bars",
    "psar": "Parabolic stop and reverse: step 0.02, at most 0.2",
    "supertrend": "The band of mid price ± 3 × ATR 10 that trails the trend",
    "donchian_upper": "Donchian channel: highest high of 20 bars",
    "donchian_lower": "Donchian channel: lowest low of 20 bars",
    "keltner_upper": "Keltner channel: EMA 20 of close + 2 × ATR 10",
    "keltner_lower": "Keltner channel: EMA 20 of close - 2 × ATR 10",
    "vwap": "Volume-weighted average of (high + low + close) / 3 since the session's first bar",
}


def upgrade() -> None:
    """Create the table; partitions are made by those who write into it."""
    op.create_table(
        "indicators_1h",
        sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument"),
        sa.Column("ts", _INSTANT, nullable=False, comment="when the bar opens"),
        *(sa.Column(name, sa.Double(), comment=comment) for name, comment in _COLUMNS.items()),
        sa.Column("computed_at", _INSTANT, nullable=False, comment="when the row was computed"),
        sa.PrimaryKeyConstraint("symbol", "ts", name="indicators_1h_pkey"),
        comment="Technical indicators over all stored hours; warm-up rows are NULL.",
        postgresql_partition_by="RANGE (ts)",
    )


def downgrade() -> None:
    """Drop the table, its partitions with it."""
    op.drop_table("indicators_1h")
