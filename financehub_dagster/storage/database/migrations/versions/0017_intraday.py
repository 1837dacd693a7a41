"""Bars within the day, in partitions by month."""

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: None = None
depends_on: None = None

_INSTANT = sa.DateTime(timezone=True)
_LONGER = {"5m": "five minutes", "15m": "a quarter of an hour", "1h": "an hour"}


def upgrade() -> None:
    """Create the tables; partitions are made by those who write into them."""
    _ledger()
    _bars("ohlc_1m", "OHLCV bars of one minute, within trading hours.")
    for suffix, length in _LONGER.items():
        _bars(f"ohlc_{suffix}", f"OHLCV bars of {length}, made of minutes.")


def _number(name: str, comment: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable, comment=comment)


def _symbol() -> sa.Column[str]:
    return sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument")


def _origin() -> tuple[sa.Column[str], sa.Column[object]]:
    return (
        sa.Column("source", sa.Text(), nullable=False, comment="the provider that answered"),
        sa.Column("fetched_at", _INSTANT, nullable=False, comment="when the provider answered"),
    )


def _bars(name: str, comment: str) -> None:
    op.create_table(
        name,
        _symbol(),
        sa.Column("ts", _INSTANT, nullable=False, comment="when the bar opens"),
        _number("open", "of the first trade"),
        _number("high", "of all trades"),
        _number("low", "of all trades"),
        _number("close", "of the last trade"),
        _number("volume", "units traded; 0 where the vendor has none"),
        *_origin(),
        sa.PrimaryKeyConstraint("symbol", "ts", name=f"{name}_pkey"),
        comment=comment,
        postgresql_partition_by="RANGE (ts)",
    )


def _ledger() -> None:
    op.create_table(
        "minute_coverage",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("first", _INSTANT, nullable=False, comment="since when minutes are expected"),
        sa.Column("complete_to", _INSTANT, nullable=False, comment="every minute before it is settled"),
        sa.Column("asked_at", _INSTANT, nullable=False, comment="when a vendor answered last"),
        sa.PrimaryKeyConstraint("symbol", name="minute_coverage_pkey"),
        sa.CheckConstraint("first <= complete_to", name="minute_coverage_span_check"),
        comment="The ledger of minutes: each settled minute is stored or had no trade, unless `minute_gaps` has it.",
    )
    again = "asked again from then on; NULL: confirmed empty, or not expected if never asked"
    op.create_table(
        "minute_gaps",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("start", _INSTANT, nullable=False, comment="the first minute that is not stored"),
        sa.Column("stop", _INSTANT, nullable=False, comment="the end of the last one"),
        sa.Column("asked", sa.Integer(), nullable=False, comment="how often a vendor was asked for them; 0: never"),
        sa.Column("provider", sa.Text(), nullable=False, comment="the vendor that was asked last"),
        sa.Column("next_ask_at", _INSTANT, comment=again),
        sa.PrimaryKeyConstraint("symbol", "start", name="minute_gaps_pkey"),
        sa.CheckConstraint("start < stop", name="minute_gaps_span_check"),
        comment="Stretches of minutes that are missing, and those that vendors confirm to have nothing for.",
    )


def downgrade() -> None:
    """Drop the tables, their partitions with them."""
    for suffix in reversed(_LONGER):
        op.drop_table(f"ohlc_{suffix}")
    for name in ("ohlc_1m", "minute_gaps", "minute_coverage"):
        op.drop_table(name)
