"""`stock_prices_daily`: daily bars of exchange-traded instruments."""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import DAILY_BARS
from financehub_dagster.tables.declaration import Freshness, History, Job, Lateness, Table

TABLE = Table(
    name="stock_prices_daily",
    comment="Daily OHLCV bars of stocks, ETFs and indices.",
    columns=DAILY_BARS,
    grain="session",
    filled=History(),
    group="prices",
    details="One row per instrument and exchange session. `close` is split-adjusted as the vendor serves it,"
    " `adj_close` is adjusted for dividends too. A session is stored once it has closed. When a split or dividend moves"
    " earlier prices, the instrument is requested for its full stored range; a bar that the vendor no longer sends is"
    " withdrawn. Replaced and withdrawn rows are kept in `price_revisions`.",
    instruments=(AssetType.STOCK, AssetType.ETF, AssetType.INDEX),
    partitions="month",
    rules="bar",
    checks=defaults.LISTED_BAR_CHECKS,
    ledger=True,
    keep_revisions=True,
    freshness=Freshness(by="0 18 * * 1-5", within=timedelta(minutes=90), timezone="America/New_York"),
    lateness=(Lateness("sessions", timedelta(hours=6)),),
    runtime=timedelta(hours=1),
    jobs=(
        Job(
            "fetch_yahoo_stocks",
            "Daily bars and corporate actions of all active stocks, ETFs and indices from Yahoo Finance.",
            cron="30 16 * * 1-5",
            timezone="America/New_York",
            why="Half an hour after the New York close, when the session's bar is final.",
            days_back=7,
        ),
        Job(
            "fetch_alpha_stocks",
            "Daily bars of stocks from Alpha Vantage alone, as far as the day's calls reach.",
            providers=("alpha_vantage",),
        ),
    ),
    chart="prices",
)
