"""`stock_prices_daily` and, from the same answers, `corporate_actions`: daily bars of exchange-traded instruments.

One call to the vendor brings bars and actions, so both tables are one step. A run that selects only one of them stores
both and reports the one.
"""

from collections.abc import Iterator

import dagster as dg

from financehub_dagster.assets import corporate_actions
from financehub_dagster.assets.tables import DAILY_FRESHNESS, daily_table, table_spec
from financehub_dagster.ingest.run_config import Fetch
from financehub_dagster.providers.alpha_vantage.provider import AlphaVantageProvider
from financehub_dagster.providers.finnhub import FinnhubProvider
from financehub_dagster.providers.routing import DailyBarsRouter
from financehub_dagster.providers.twelve_data.provider import TwelveDataProvider
from financehub_dagster.providers.yahoo.provider import YahooProvider

NAME = "stock_prices_daily"

SPEC = table_spec(
    NAME,
    group="prices",
    kinds={"yahoo"},
    deps=["instruments"],
    freshness_policy=DAILY_FRESHNESS,
    details="One row per instrument and exchange session. `close` is split-adjusted as the vendor serves it,"
    " `adj_close` also takes dividends out. A session is stored once it has closed. When a split or dividend moves"
    " earlier prices, the instrument's whole stored history is asked for again; a bar that the vendor no longer sends"
    " is taken back. What is replaced or taken back is kept in `price_revisions`.",
)


@daily_table(SPEC, corporate_actions.SPEC)
def stock_prices_daily(
    context: dg.AssetExecutionContext,
    config: Fetch,
    daily_bars: DailyBarsRouter,
    yahoo: YahooProvider,
    twelve_data: TwelveDataProvider,
    alpha_vantage: AlphaVantageProvider,
    finnhub: FinnhubProvider,
) -> Iterator[dg.MaterializeResult]:
    """Ask the first vendor that can answer, once per instrument for the run's whole range."""
    from financehub_dagster.assets.bar_table import fill_bars

    vendors = {"yahoo": yahoo, "twelve_data": twelve_data, "alpha_vantage": alpha_vantage, "finnhub": finnhub}
    yield from fill_bars(context, config, NAME, daily_bars.over(vendors, only=config.providers))
