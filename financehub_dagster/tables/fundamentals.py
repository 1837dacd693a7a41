"""`fundamentals`: what companies are worth and earn, as known on each day."""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import CURRENCY, ORIGIN, SYMBOL, not_negative, number, positive
from financehub_dagster.tables.declaration import Column, Freshness, Job, Lateness, Snapshots, Table

TABLE = Table(
    name="fundamentals",
    comment="What a company is worth and earns, as it was known on each day.",
    columns=(
        SYMBOL,
        Column("date", "date", "UTC day on which this was known", key=True),
        CURRENCY,
        Column("sector", "text", "in the vendor's words", nullable=True),
        Column("industry", "text", "in the vendor's words", nullable=True),
        positive("market_cap", "in units of currency", nullable=True),
        positive("shares_outstanding", "shares", nullable=True),
        number("pe_ratio", "price to trailing earnings", nullable=True),
        number("forward_pe", "price to expected earnings", nullable=True),
        number("peg_ratio", "price to earnings to growth", nullable=True),
        number("price_to_book", "ratio", nullable=True),
        number("price_to_sales", "ratio, trailing twelve months", nullable=True),
        number("eps", "earnings per share, trailing twelve months", nullable=True),
        number("book_value", "per share", nullable=True),
        not_negative("dividend_per_share", "per year", nullable=True),
        not_negative("dividend_yield", "fraction of the price per year", nullable=True),
        number("profit_margin", "fraction of revenue", nullable=True),
        number("operating_margin", "fraction of revenue", nullable=True),
        number("return_on_assets", "fraction", nullable=True),
        number("return_on_equity", "fraction", nullable=True),
        number("revenue", "trailing twelve months", nullable=True),
        number("ebitda", "trailing twelve months", nullable=True),
        number("beta", "against the market", nullable=True),
        positive("high_52w", "highest price of 52 weeks", nullable=True),
        positive("low_52w", "lowest price of 52 weeks", nullable=True),
        *ORIGIN,
    ),
    grain="day",
    filled=Snapshots("fundamentals_router", batch=25, keeps="daily"),
    group="fundamentals",
    details="One row per company and UTC day of asking, unchanged afterwards, so that each day can be read as it was"
    " known then. A row that a later answer of the same day replaces stays in `price_revisions`. Only the running month"
    " can be filled, with today.",
    instruments=(AssetType.STOCK,),
    partitions="month",
    current_only=True,
    rules="company",
    checks=(*defaults.SNAPSHOT_CHECKS, "sanity", "fundamentals_fresh"),
    keep_revisions=True,
    freshness=Freshness(by="0 1 * * *", within=timedelta(minutes=150)),
    lateness=(Lateness("always", timedelta(days=3)),),
    runtime=timedelta(hours=2),
    jobs=(
        Job(
            "fetch_fundamentals",
            "What companies are worth and earn, as of today.",
            cron="30 22 * * *",
            why="Every evening (UTC), after New York has closed.",
        ),
    ),
    chart="companies",
)
