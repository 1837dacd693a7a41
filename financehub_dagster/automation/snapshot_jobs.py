"""Jobs over quotes, markets, fundamentals and news, and over these together with bars.

Belongs here: which tables and kinds of instruments each covers. Does not belong here: jobs over bars and indicators
alone (`jobs`), when they run (`snapshot_schedules`).

A run has one partition, and bars are cut into months where quotes are cut into days. The jobs over both make one run
for each length, with the checks, hooks and dead letters that any run of these tables has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from financehub_dagster.ingest.partitions import BY_DAY, Window
from financehub_dagster.ingest.run_config import Universe

PART_TAG = "financehub/part_of"
"""On a run that is part of a job over several partitions' lengths: the run of that job."""
_STOCKS = ["stock", "etf"]
_FAILURE = "Failure: "
"""What Dagster writes before the reason of a step that failed in words of its own."""


@dataclass(frozen=True)
class Part:
    """Tables that are cut alike and run together, with the config of each that takes it."""

    tables: Sequence[str]
    config: Mapping[str, object] = field(default_factory=dict)

    def partition_key(self, today: date) -> str:
        """The running day, or the month of a week ago to the running one."""
        if set(self.tables) <= BY_DAY:
            return today.isoformat()
        return Window.recent(today).partition_key


UNIFIED_CRYPTO = (Part(["crypto_prices_daily"]), Part(["crypto_markets", "quotes"], {"asset_types": ["crypto"]}))
ALL_MARKETS = (
    Part(["stock_prices_daily", "corporate_actions", "crypto_prices_daily"]),
    Part(["crypto_markets", "quotes"]),
)


def run_parts(context: dg.OpExecutionContext, parts: Sequence[Part], symbols: Sequence[str] | None) -> None:
    """Run each part; one that fails leaves the others alone, and fails the step at the end with its reason."""
    from dagster._core.errors import DagsterExecutionInterruptedError

    from financehub_dagster.automation.runs import run_tables

    failed = []
    for part in parts:
        config = {**part.config, **({} if symbols is None else {"symbols": list(symbols)})}
        partition = part.partition_key(datetime.now(UTC).date())
        tags = {PART_TAG: context.run_id}
        outcome = run_tables(
            context.repository_def, part.tables, partition, config, instance=context.instance, tags=tags
        )
        if outcome.interrupted:
            raise DagsterExecutionInterruptedError
        names = ", ".join(part.tables)
        context.log.info(f"{names} {partition}: run {outcome.run_id} {'done' if outcome.success else 'failed'}")
        if not outcome.success:
            failed.append(f"{names}: {str(outcome.error).rpartition(_FAILURE)[2]}")
    if failed:
        raise dg.Failure("; ".join(failed), allow_retries=False)


@dg.op
def fetch_cryptos_together(context: dg.OpExecutionContext, config: Universe) -> None:
    """The running month's bars, then markets and quotes."""
    run_parts(context, UNIFIED_CRYPTO, config.symbols)


@dg.op
def fetch_markets_together(context: dg.OpExecutionContext, config: Universe) -> None:
    """The running month's bars, then markets and quotes."""
    run_parts(context, ALL_MARKETS, config.symbols)


@dg.job(description="Daily bars, markets and quotes of cryptos, each from the first vendor that can answer.")
def fetch_unified_crypto() -> None:
    """Two runs: the running month of the bars, the running day of the others."""
    fetch_cryptos_together()


@dg.job(description="Daily bars, corporate actions, markets and quotes of every active instrument.")
def fetch_all_markets() -> None:
    """Two runs: the running month of the bars, the running day of the others."""
    fetch_markets_together()


def _asset_job(name: str, table: str, description: str, **config: object) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(table),
        config={"ops": {table: {"config": config}}} if config else None,
        description=description,
    )


fetch_alpha_stocks = dg.define_asset_job(
    "fetch_alpha_stocks",
    selection=dg.AssetSelection.assets("stock_prices_daily", "corporate_actions"),
    config={"ops": {"stock_prices_daily": {"config": {"providers": ["alpha_vantage"]}}}},
    description="Daily bars of stocks from Alpha Vantage alone, as far as the day's calls reach.",
)
fetch_stock_prices = _asset_job(
    "fetch_stock_prices",
    "quotes",
    "Quotes of stocks and ETFs, from Finnhub first.",
    asset_types=_STOCKS,
    providers=["finnhub", "yahoo", "twelve_data"],
)
fetch_crypto_quotes = _asset_job(
    "fetch_crypto_quotes", "quotes", "Quotes of cryptos, all in one call to Binance.", asset_types=["crypto"]
)
fetch_coingecko_cryptos = _asset_job(
    "fetch_coingecko_cryptos", "crypto_markets", "Markets of cryptos, 250 in one call to CoinGecko."
)
fetch_fundamentals = _asset_job("fetch_fundamentals", "fundamentals", "What companies are worth and earn, as of today.")
fetch_news = _asset_job("fetch_news", "news_articles", "What was published about instruments since yesterday.")

ANSWER_JOBS: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    fetch_alpha_stocks,
    fetch_stock_prices,
    fetch_crypto_quotes,
    fetch_coingecko_cryptos,
    fetch_fundamentals,
    fetch_news,
    fetch_unified_crypto,
    fetch_all_markets,
]
