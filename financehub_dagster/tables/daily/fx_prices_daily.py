"""`fx_prices_daily`: daily bars of currency pairs."""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import DAILY_RATES
from financehub_dagster.tables.declaration import Freshness, History, Job, Lateness, Table

TABLE = Table(
    name="fx_prices_daily",
    comment="Daily OHLC bars of currency pairs, sessions that end at 17:00 New York.",
    columns=DAILY_RATES,
    grain="session",
    filled=History(),
    group="prices",
    details="One row per pair and session, Monday to Friday; Sunday evening belongs to Monday's. Prices are units of"
    " the second currency for one of the first. `volume` is 0 where the vendor has none, since currencies trade on no"
    " exchange; `adj_close` equals `close`. A session is stored once it has ended.",
    instruments=(AssetType.FX,),
    partitions="month",
    rules="bar",
    checks=defaults.BAR_CHECKS,
    ledger=True,
    keep_revisions=True,
    freshness=Freshness(by="45 18 * * 1-5", within=timedelta(minutes=90), timezone="America/New_York"),
    lateness=(Lateness("sessions", timedelta(hours=6)),),
    runtime=timedelta(hours=1),
    jobs=(
        Job(
            "fetch_fx_prices",
            "Daily bars of all active currency pairs.",
            cron="15 17 * * 1-5",
            timezone="America/New_York",
            why="A quarter of an hour after the session of currencies ends in New York.",
            days_back=7,
        ),
    ),
    chart="prices",
)
