"""`crypto_markets`: market capitalisation, volume and supply of cryptos."""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import CURRENCY, ORIGIN, QUOTED_AT, SYMBOL, not_negative, number, positive
from financehub_dagster.tables.declaration import Job, Lateness, Snapshots, Table

TABLE = Table(
    name="crypto_markets",
    comment="Price, market capitalisation, volume and supply of cryptos, each under the time it was made.",
    columns=(
        SYMBOL,
        QUOTED_AT,
        positive("price", "last price"),
        not_negative("market_cap", "price times circulating supply", nullable=True),
        not_negative("volume_24h", "money traded in 24 hours", nullable=True),
        number("change_24h", "percent", nullable=True, least=-100),
        not_negative("circulating_supply", "units of the crypto", nullable=True),
        not_negative("total_supply", "units of the crypto", nullable=True),
        not_negative("max_supply", "units of the crypto", nullable=True),
        number("rank", "by market capitalisation, at the vendor", nullable=True, least=1),
        CURRENCY,
        *ORIGIN,
    ),
    grain="instant",
    filled=Snapshots("crypto_markets_router", batch=5_000, keeps="newest", priced=True),
    group="markets",
    details="One row per crypto and time at which the vendor made it, as in `quotes`. Coins are found by the"
    " `coingecko` and `coinmarketcap` ids among the instrument's aliases. Only the running day can be filled.",
    instruments=(AssetType.CRYPTO,),
    partitions="day",
    current_only=True,
    rules="market",
    checks=(*defaults.SNAPSHOT_CHECKS, "sanity", "markets_fresh"),
    freshness=defaults.HOURLY_FRESHNESS,
    lateness=(Lateness("always", timedelta(hours=3)),),
    runtime=timedelta(minutes=15),
    jobs=(
        Job(
            "fetch_coingecko_cryptos",
            "Markets of cryptos, 250 in one call to CoinGecko.",
            cron="22 * * * *",
            why="Every hour.",
        ),
    ),
    chart="markets",
    time_index="brin",
)
