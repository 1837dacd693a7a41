"""Daily bars of currencies; levels and pivot points of each trade date."""

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: None = None
depends_on: None = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _fx_prices_daily()
    _levels_daily()
    _pivot_points()


def _number(name: str, comment: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable, comment=comment)


def _symbol() -> sa.Column[str]:
    return sa.Column("symbol", sa.Text(), nullable=False, comment="the instrument")


def _origin() -> tuple[sa.Column[str], sa.Column[object]]:
    return (
        sa.Column("source", sa.Text(), nullable=False, comment="the provider that answered"),
        sa.Column("fetched_at", _INSTANT, nullable=False, comment="when the provider answered"),
    )


def _fx_prices_daily() -> None:
    op.create_table(
        "fx_prices_daily",
        _symbol(),
        sa.Column("date", sa.Date(), nullable=False, comment="session date"),
        _number("open", "split-adjusted"),
        _number("high", "split-adjusted"),
        _number("low", "split-adjusted"),
        _number("close", "split-adjusted, not adjusted for dividends"),
        _number("adj_close", "adjusted for splits and dividends", nullable=True),
        _number("volume", "units traded"),
        *_origin(),
        sa.PrimaryKeyConstraint("symbol", "date", name="fx_prices_daily_pkey"),
        comment="Daily OHLC bars of currency pairs, sessions that end at 17:00 New York.",
    )


def _trade_date() -> tuple[sa.Column[object], ...]:
    comment = "the session before it, whose bar the row is made of"
    return (
        sa.Column("date", sa.Date(), nullable=False, comment="trade date: the session the row is for"),
        sa.Column("session", sa.Date(), nullable=False, comment=comment),
    )


def _computed_at() -> sa.Column[object]:
    return sa.Column("computed_at", _INSTANT, nullable=False, comment="when the row was computed")


def _levels_daily() -> None:
    op.create_table(
        "levels_daily",
        _symbol(),
        *_trade_date(),
        _number("high", "of that session, split-adjusted"),
        _number("low", "of that session, split-adjusted"),
        _number("close", "of that session, split-adjusted"),
        _computed_at(),
        sa.PrimaryKeyConstraint("symbol", "date", name="levels_daily_pkey"),
        comment="High, low and close of the session before each trade date.",
    )


def _pivot_points() -> None:
    op.create_table(
        "pivot_points",
        _symbol(),
        *_trade_date(),
        _number("pp", "pivot: (high + low + close) / 3 of the session before"),
        _number("r1", "first resistance: 2 pp - low"),
        _number("s1", "first support: 2 pp - high"),
        _number("r2", "second resistance: pp + high - low"),
        _number("s2", "second support: pp - (high - low)"),
        _computed_at(),
        sa.PrimaryKeyConstraint("symbol", "date", name="pivot_points_pkey"),
        comment="Pivot points of each trade date, from the session before it.",
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("pivot_points", "levels_daily", "fx_prices_daily"):
        op.drop_table(name)
