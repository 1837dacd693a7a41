"""The universe, daily prices, corporate actions, indicators and the book-keeping of the first release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None

_TABLES = (
    "instruments stock_prices_daily crypto_prices_daily corporate_actions indicators_daily price_revisions "
    "rejected_rows dirty_marks task_failures rate_limits breakers api_usage"
).split()

_INDICATORS = {
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
}


def upgrade() -> None:
    """Create every table."""
    _instruments()
    _daily_bars("stock_prices_daily", "Daily OHLCV bars of stocks, ETFs and indices.")
    _daily_bars("crypto_prices_daily", "Daily OHLCV bars of cryptos in USD, sessions from 00:00 UTC.")
    _corporate_actions()
    _indicators_daily()
    _price_revisions()
    _rejected_rows()
    _dirty_marks()
    _task_failures()
    _shared_state_of_the_gateway()


def downgrade() -> None:
    """Drop every table."""
    for name in reversed(_TABLES):
        op.drop_table(name)


def _text(name: str, comment: str | None = None, *, null: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null, comment=comment, server_default=default)


def _double(name: str, comment: str | None = None, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=null, comment=comment)


def _instant(name: str, comment: str | None = None, *, null: bool = False, now: bool = False) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null, comment=comment, server_default=default)


def _date(name: str, comment: str | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Date(), nullable=False, comment=comment)


def _json(name: str, comment: str | None = None, *, empty: bool = False) -> sa.Column[object]:
    default = sa.text("'{}'::jsonb") if empty else None
    return sa.Column(name, JSONB(), nullable=False, comment=comment, server_default=default)


def _identity() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"{table}_pkey")


def _instruments() -> None:
    op.create_table(
        "instruments",
        _text("symbol", "unique, upper case"),
        _text("name", "in full"),
        _text("asset_type", "stock, crypto, etf, index or fx"),
        _text("exchange", "ISO 10383 MIC"),
        _text("currency", "ISO 4217"),
        _text("timezone", "IANA name"),
        sa.Column(
            "is_active",
            sa.Boolean(),
            nullable=False,
            server_default=sa.true(),
            comment="whether it is fetched and computed",
        ),
        _double("market_cap", "in units of currency", null=True),
        _json("aliases", "provider -> symbol", empty=True),
        _instant("updated_at", "last edit", now=True),
        sa.CheckConstraint("asset_type in ('stock','crypto','etf','index','fx')", name="instruments_asset_type_check"),
        _key("instruments", "symbol"),
        comment="The only universe: what is fetched, computed and reported.",
    )


def _daily_bars(name: str, what: str) -> None:
    op.create_table(
        name,
        _text("symbol", "the instrument"),
        _date("date", "session date"),
        _double("open", "split-adjusted"),
        _double("high", "split-adjusted"),
        _double("low", "split-adjusted"),
        _double("close", "split-adjusted, not adjusted for dividends"),
        _double("adj_close", "adjusted for splits and dividends", null=True),
        _double("volume", "units traded"),
        _text("source", "the provider that answered"),
        _instant("fetched_at", "when the provider answered"),
        _key(name, "symbol", "date"),
        comment=what,
    )


def _corporate_actions() -> None:
    op.create_table(
        "corporate_actions",
        _text("symbol", "the instrument"),
        _date("date", "ex-date"),
        _text("kind", "dividend, split or capital_gain"),
        _double("value", "cash per share (split-adjusted), or new shares per old share"),
        _text("source", "the provider that answered"),
        _instant("fetched_at", "when the provider answered"),
        _key("corporate_actions", "symbol", "date", "kind"),
        comment="Dividends, splits and capital gains.",
    )


def _indicators_daily() -> None:
    op.create_table(
        "indicators_daily",
        _text("symbol", "the instrument"),
        _date("date", "session date"),
        *(_double(name, meaning, null=True) for name, meaning in _INDICATORS.items()),
        _instant("computed_at", "when the row was computed"),
        _key("indicators_daily", "symbol", "date"),
        comment="Technical indicators over the full stored history; warm-up rows are NULL.",
    )


def _price_revisions() -> None:
    op.create_table(
        "price_revisions",
        _identity(),
        _text("table_name"),
        _text("symbol"),
        _date("date"),
        _json("old", "the replaced row, all columns but symbol and date"),
        _instant("replaced_at", now=True),
        _text("run_id", null=True),
        _key("price_revisions", "id"),
        comment="Every value that was replaced, so that a table can be read as it was known at a time.",
    )
    op.create_index("price_revisions_row_idx", "price_revisions", ["table_name", "symbol", "date"])


def _rejected_rows() -> None:
    op.create_table(
        "rejected_rows",
        _identity(),
        _text("table_name"),
        _text("symbol"),
        _date("date"),
        _text("rule", "the quality rule it broke"),
        _json("row"),
        _text("source"),
        _instant("rejected_at", now=True),
        _text("run_id", null=True),
        sa.UniqueConstraint("table_name", "symbol", "date", "rule", "source", name="rejected_rows_once_key"),
        _key("rejected_rows", "id"),
        comment="Rows a vendor sent that no table accepts; one row per rule and source, however often it is sent.",
    )


def _dirty_marks() -> None:
    op.create_table(
        "dirty_marks",
        _text("table_name", "the derived table that has to be recomputed"),
        _text("symbol"),
        _date("dirty_from", "first session whose inputs changed"),
        sa.Column(
            "version", sa.BigInteger(), nullable=False, server_default=sa.text("1"), comment="grows with each mark"
        ),
        _key("dirty_marks", "table_name", "symbol"),
        comment="Instruments whose derived rows are stale from a date on.",
    )


def _task_failures() -> None:
    op.create_table(
        "task_failures",
        _identity(),
        _text("task_name"),
        _text("partition_key", default=""),
        _text("symbol", default=""),
        _text("provider", null=True),
        _json("kwargs", empty=True),
        _text("exception"),
        _text("traceback", null=True),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("1")),
        _text("status", default="open"),
        _instant("first_failed_at", now=True),
        _instant("last_failed_at", now=True),
        _instant("next_retry_at", null=True),
        _text("run_id", null=True),
        sa.CheckConstraint(
            "status in ('open','retrying','parked','resolved','discarded')", name="task_failures_status_check"
        ),
        _key("task_failures", "id"),
        comment="The dead letters: one live row per piece of failed work.",
    )
    op.create_index(
        "task_failures_live_key",
        "task_failures",
        ["task_name", "partition_key", "symbol"],
        unique=True,
        postgresql_where=sa.text("status in ('open','retrying','parked')"),
    )


def _shared_state_of_the_gateway() -> None:
    op.create_table(
        "rate_limits",
        _text("provider"),
        _text("scope", "ip, or a key's fingerprint"),
        _text("limit_name", "which of the provider's limits"),
        _instant("tat", "theoretical arrival time of the next call (GCRA)"),
        _key("rate_limits", "provider", "scope", "limit_name"),
        comment="One row per limit, moved by one UPDATE on the database's clock, shared by every process.",
    )
    op.create_table(
        "breakers",
        _text("provider"),
        _text("capability"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default=sa.text("0"), comment="in a row"),
        _instant("open_until", "no call before this", null=True),
        _instant("probe_until", "one process holds the half-open probe until this", null=True),
        _text("reason", null=True),
        _key("breakers", "provider", "capability"),
        comment="Circuit breakers, shared by every process.",
    )
    op.create_table(
        "api_usage",
        _text("provider"),
        _text("scope", "ip, or a key's fingerprint"),
        _date("day", "UTC"),
        _text("outcome", "ok, or the name of the error"),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("weight", sa.BigInteger(), nullable=False),
        _key("api_usage", "provider", "scope", "day", "outcome"),
        comment="Vendor calls by day and outcome.",
    )
