"""What FinanceHub and TradeMatrix had, row by row, and what has its place here.

Belongs here: their tasks and features as they called them. Does not belong here: anything that the definitions know.
"""

from typing import NamedTuple


class Predecessor(NamedTuple):
    """A task or feature of theirs: jobs that do it now, and otherwise where it is, as Markdown for docs/jobs.md."""

    number: int
    theirs: str
    jobs: tuple[str, ...] = ()
    here: str = ""


PREDECESSORS = (
    Predecessor(1, "`fetch_yahoo_stocks`: fetch and save, many symbols", ("fetch_yahoo_stocks",)),
    Predecessor(2, "`fetch_alpha_stocks`", ("fetch_alpha_stocks",)),
    Predecessor(3, "`fetch_binance_cryptos`: one and many", ("fetch_binance_cryptos", "fetch_crypto_quotes")),
    Predecessor(4, "`fetch_coingecko_cryptos`, CoinMarketCap", ("fetch_coingecko_cryptos",)),
    Predecessor(5, "`fetch_unified_crypto`", ("fetch_unified_crypto",), "[routers](providers.md)"),
    Predecessor(6, "`fetch_stock_prices` of Finnhub", ("fetch_stock_prices",)),
    Predecessor(7, "`fetch_news` every 30 minutes", ("fetch_news",)),
    Predecessor(
        8,
        "`calculate_indicators` for all active instruments, hourly",
        ("calculate_indicators", "calculate_hourly_indicators"),
    ),
    Predecessor(
        9, "`cleanup_old_data`, cache clean-up, clean-up of task records", ("cleanup_old_data", "cleanup_failed_tasks")
    ),
    Predecessor(10, "`update_single_asset` for any source", ("update_single_asset",), "`financehub update`"),
    Predecessor(
        11,
        "`cache_warming`, `batch_update_popular`, priorities by popularity and market conditions",
        ("cache_warming", "batch_update_popular", "rank_instruments"),
        "[classes in the queue](operations.md#the-queue)",
    ),
    Predecessor(
        12, "`health_check` every minute", ("health_check_sensor", "health_check"), "[health](operations.md#health)"
    ),
    Predecessor(13, "`fetch_all_markets`", ("fetch_all_markets",)),
    Predecessor(14, "fundamentals saved to their models", ("fetch_fundamentals",)),
    Predecessor(15, "one task system, no duplicates", here="Dagster alone"),
    Predecessor(16, "lists of symbols from the database", here="`instruments` and `holdings` ([tables](tables.md))"),
    Predecessor(17, "lazy vendor clients", here="nothing connects when the code location loads"),
    Predecessor(
        18,
        "retries after 2 to 32 s within a call, 60 to 960 s across",
        ("replay_dead_letters",),
        "[dead letters](dead-letters.md)",
    ),
    Predecessor(
        19,
        "rate limits per API key, key rotation",
        ("observe_api_usage", "observe_api_usage_sensor"),
        "[providers](providers.md)",
    ),
    Predecessor(20, "circuit breaker", here="shared by all processes ([providers](providers.md))"),
    Predecessor(21, "dead letter queue with replay", ("replay_dead_letters",), "[dead letters](dead-letters.md)"),
    Predecessor(22, "batch calls instead of one per symbol", here="[providers](providers.md)"),
    Predecessor(23, "Flower, results kept", here="Dagster's webserver"),
    Predecessor(
        24, "success and failure counts, Prometheus, Grafana", here="[metrics](operations.md#metrics), `status --tasks`"
    ),
    Predecessor(25, "SLA monitoring with alerts", here="[SLA](operations.md#sla)"),
    Predecessor(26, "chains fetch, indicators, notifications", ("send_notifications",), "[signals](signals.md)"),
    Predecessor(27, "Twelve Data fetcher", here="[providers](providers.md)"),
    Predecessor(28, "`historical_seed(symbol, interval, days)`", ("historical_seed",), "`financehub seed`"),
    Predecessor(29, "`realtime_pull` every 60 s within 800 calls a day", ("realtime_pull",), "[intraday](intraday.md)"),
    Predecessor(30, "`daily_close` 20:59 Berlin, `calculate_pivots` 07:55 Berlin", ("daily_close", "calculate_pivots")),
    Predecessor(31, "unique (symbol, timeframe, ts), safe to run again", here="one writer ([database](database.md))"),
    Predecessor(
        32, "one symbol's failure does not stop the others", here="[dead letters](dead-letters.md), [ledger](ledger.md)"
    ),
    Predecessor(33, "market hours, holidays, time zones", here="exchange calendars ([ledger](ledger.md))"),
    Predecessor(34, "alerts by e-mail, SMS, WhatsApp, push", here="[alerts](operations.md#alerts)"),
    Predecessor(
        35,
        "fallback sources, outlier detection, gap filling, validation",
        ("heal_gaps", "heal_minutes", "reconcile_prices", "audit_tables"),
        "[quality](quality.md)",
    ),
    Predecessor(36, "`test_connection`, tests for every task type", ("test_connection",)),
    Predecessor(37, "worker and scheduler processes, Docker, Kubernetes", here="[deployment](deployment.md)"),
    Predecessor(38, "signals, position sizing, journal", ("send_notifications",), "[signals](signals.md)"),
)
