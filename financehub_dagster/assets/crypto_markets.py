"""`crypto_markets`: market capitalisation, volume and supply of cryptos."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg

from financehub_dagster.assets.snapshot_config import Question
from financehub_dagster.assets.tables import answers_table, table_spec
from financehub_dagster.providers.snapshot_routing import CryptoMarketsRouter

NAME = "crypto_markets"

SPEC = table_spec(
    NAME,
    group="markets",
    kinds={"coingecko", "coinmarketcap"},
    deps=["instruments"],
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=6), warn_window=timedelta(hours=2)),
    details="One row per crypto and time at which the vendor made it, as in `quotes`. Coins are found by the"
    " `coingecko` and `coinmarketcap` ids among the instrument's aliases. Only the running day can be filled.",
)


@answers_table(SPEC, {"crypto_markets_router", *CryptoMarketsRouter.able})
def crypto_markets(context: dg.AssetExecutionContext, config: Question) -> Iterator[dg.MaterializeResult]:
    """Ask CoinGecko once per 250 coins, CoinMarketCap for those that lack a row."""
    from financehub_dagster.assets.snapshot_table import fill_with_answers

    yield from fill_with_answers(context, config, NAME)
