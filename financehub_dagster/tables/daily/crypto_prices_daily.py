"""`crypto_prices_daily`: daily bars of cryptos in USD."""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import DAILY_BARS
from financehub_dagster.tables.declaration import Freshness, History, Job, Lateness, Table

TABLE = Table(
    name="crypto_prices_daily",
    comment="Daily OHLCV bars of cryptos in USD, sessions from 00:00 UTC.",
    columns=DAILY_BARS,
    grain="session",
    filled=History(),
    group="prices",
    details="One row per crypto and UTC day, priced by way of its USDT pair. `volume` counts units of the base"
    " currency; `adj_close` equals `close`. The running day is never stored.",
    instruments=(AssetType.CRYPTO,),
    partitions="month",
    rules="bar",
    checks=defaults.BAR_CHECKS,
    ledger=True,
    keep_revisions=True,
    freshness=Freshness(by="30 1 * * *", within=timedelta(minutes=85)),
    lateness=(Lateness("sessions", timedelta(hours=3)),),
    runtime=timedelta(hours=1),
    jobs=(
        Job(
            "fetch_binance_cryptos",
            "Daily bars of all active cryptos from Binance.",
            cron="5 0 * * *",
            why="Five minutes after the UTC day ends.",
            days_back=7,
        ),
    ),
    chart="prices",
)
