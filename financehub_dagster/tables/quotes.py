"""`quotes`: last prices of every kind of instrument."""

from datetime import timedelta

from financehub_dagster.market.instruments import AssetType
from financehub_dagster.tables import defaults
from financehub_dagster.tables.columns import CURRENCY, ORIGIN, QUOTED_AT, SYMBOL, not_negative, positive
from financehub_dagster.tables.declaration import Job, Lateness, Snapshots, Table

TABLE = Table(
    name="quotes",
    comment="Last prices, each under the time it was made.",
    columns=(
        SYMBOL,
        QUOTED_AT,
        positive("price", "last price"),
        positive("open", "of the running session, cryptos: 24 hours ago", nullable=True),
        positive("high", "of the running session, cryptos: of 24 hours", nullable=True),
        positive("low", "of the running session, cryptos: of 24 hours", nullable=True),
        positive("previous_close", "of the session before", nullable=True),
        not_negative("volume", "units traded in the session, cryptos: in 24 hours", nullable=True),
        CURRENCY,
        *ORIGIN,
    ),
    grain="instant",
    # One request serves 50 instruments at Yahoo and all of them at Binance.
    filled=Snapshots("quotes_router", batch=5_000, keeps="newest", priced=True),
    group="prices",
    details="One row per instrument and time at which its price was made, whichever provider reported it. A price that"
    " is not newer than the stored one changes nothing, and no stored one is replaced. Vendors return only current"
    " values: only the running day can be filled, and after a close its rows stand under the day of the close.",
    partitions="day",
    current_only=True,
    rules="quote",
    checks=(*defaults.SNAPSHOT_CHECKS, "sanity", "quotes_fresh"),
    # Vendors' free plans report prices up to a quarter of an hour late.
    lateness=(
        Lateness(
            "open markets", timedelta(minutes=40), (AssetType.STOCK, AssetType.ETF, AssetType.INDEX, AssetType.FX)
        ),
        Lateness("open markets", timedelta(minutes=10), (AssetType.CRYPTO,)),
    ),
    runtime=timedelta(minutes=5),
    jobs=(
        Job(
            "fetch_stock_prices",
            "Quotes of stocks and ETFs, from Finnhub first.",
            asset_types=("stock", "etf"),
            providers=("finnhub", "yahoo", "twelve_data"),
            cron="*/5 * * * *",
            why="Every five minutes while an exchange of the universe is open, in the order of the quotes router.",
            tick_asset_types=("stock", "etf", "index", "fx"),
            while_open=True,
            queue="high",
        ),
        Job(
            "fetch_crypto_quotes",
            "Quotes of cryptos, all in one call to Binance.",
            asset_types=("crypto",),
            cron="*/2 * * * *",
            why="Every two minutes, round the clock.",
            tick_asset_types=("crypto",),
            queue="high",
        ),
    ),
    chart="movers",
    time_index="brin",
)
