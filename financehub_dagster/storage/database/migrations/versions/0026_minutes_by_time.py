"""An index on the time of bars within the day: one minute of all instruments is read without a probe for each."""

from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: None = None
depends_on: None = None

_TABLES = ("ohlc_1m", "ohlc_5m", "ohlc_15m", "ohlc_1h")


def upgrade() -> None:
    """Declare the indexes; those of partitions with rows are built after the migration (`partition_indexes`)."""
    for table in _TABLES:
        op.execute(f"CREATE INDEX {table}_ts_idx ON ONLY {table} (ts)")


def downgrade() -> None:
    """Drop them."""
    for table in reversed(_TABLES):
        op.execute(f"DROP INDEX {table}_ts_idx")
