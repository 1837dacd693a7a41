"""`corporate_actions`: dividends, splits and capital gains, as they come with the daily bars."""

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.market.quality.limits import ACTION_KINDS
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import ORIGIN, SYMBOL, positive
from financehub_dagster.tables.declaration import Column, FilledWith, Table

TABLE = Table(
    name="corporate_actions",
    comment="Dividends, splits and capital gains.",
    columns=(
        SYMBOL,
        Column("date", "date", "ex-date", key=True),
        Column("kind", "text", "dividend, split or capital_gain", key=True, choices=ACTION_KINDS),
        positive("value", "cash per share (split-adjusted), or new shares per old share"),
        *ORIGIN,
    ),
    grain="session",
    filled=FilledWith("stock_prices_daily"),
    group="prices",
    details="One row per instrument, ex-date and kind. Filled by the same vendor call as `stock_prices_daily`; months"
    " without any action are materialized with no rows. An action that the vendor no longer reports is withdrawn.",
    instruments=(AssetType.STOCK, AssetType.ETF, AssetType.INDEX),
    partitions="month",
    checks=defaults.CHECKS,
    keep_revisions=True,
)
