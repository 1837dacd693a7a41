"""`crypto_prices_daily`: daily bars of cryptos in USD."""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets.config import Universe
from financehub_dagster.assets.tables import DAILY_FRESHNESS, daily_table, table_spec
from financehub_dagster.providers.binance import BinanceProvider

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
    context: dg.AssetExecutionContext, config: Universe, binance: BinanceProvider
) -> Iterator[dg.MaterializeResult]:
    """Ask Binance once per crypto and 1,000 bars for the run's whole range."""
    from financehub_dagster.assets.bar_table import fill_bars

    yield from fill_bars(context, config, NAME, binance)
