"""`crypto_prices_daily`: daily bars of cryptos in USD."""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets.tables import DAILY_FRESHNESS, daily_table, table_spec
from financehub_dagster.ingest.run_config import Fetch
from financehub_dagster.providers.binance.provider import BinanceProvider
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider

NAME = "crypto_prices_daily"

SPEC = table_spec(
    NAME,
    group="prices",
    kinds={"binance"},
    deps=["instruments"],
    freshness_policy=DAILY_FRESHNESS,
    details="One row per crypto and UTC day, priced by way of its USDT pair. `volume` counts units of the base"
    " currency; `adj_close` equals `close`. The running day is never stored.",
)


@daily_table(SPEC)
def crypto_prices_daily(
    context: dg.AssetExecutionContext,
    config: Fetch,
    daily_bars: DailyBarsRouter,
    binance: BinanceProvider,
    yahoo: YahooProvider,
    twelve_data: TwelveDataProvider,
) -> Iterator[dg.MaterializeResult]:
    """Ask the first vendor that can answer for the run's whole range; Binance: once per crypto and 1,000 bars."""
    from financehub_dagster.assets.bar_table import fill_bars

    vendors = {"binance": binance, "yahoo": yahoo, "twelve_data": twelve_data}
    yield from fill_bars(context, config, NAME, daily_bars.over(vendors, only=config.providers))
