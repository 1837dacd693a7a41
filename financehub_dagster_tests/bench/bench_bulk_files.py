"""Minutes of Bitcoin over one and three months, from the vendor to the table: by the API, and by bulk files first.

The vendor is the sandbox with 50 ms before each answer, so that bytes on the way cost nothing; a real line takes longer
for a file of some MB. Prints requests, the weight that Binance counts, seconds, and the process's peak memory so far.
"""

import argparse
import logging
import os
import resource
import statistics
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from financehub_dagster_tests.bench.bench_limiter import database

if TYPE_CHECKING:
    from financehub_dagster.sandbox.client import Sandbox

LATENCY_MS = 50.0
SPANS = {
    "a month": (date(2024, 1, 1), date(2024, 1, 31)),
    "three months": (date(2024, 1, 1), date(2024, 3, 31)),
}


def fill(first: date, last: date) -> float:
    """Seconds that the engine behind `ohlc_1m` takes for a span of which nothing is stored."""
    from financehub_dagster.ingest.intraday.minutes import MinutesRun, update_minutes
    from financehub_dagster.ingest.partitions import Window
    from financehub_dagster.market.instruments import AssetType, Instrument
    from financehub_dagster.providers.binance.provider import BinanceProvider
    from financehub_dagster.providers.routing import IntradayRouter
    from financehub_dagster.storage.database.engine import market_engine, transaction
    from financehub_dagster.storage.queries.instruments import upsert_instruments

    bitcoin = Instrument("BTC", "Bitcoin", AssetType.CRYPTO, "XXXX", "USD", "UTC", aliases={"binance": "BTCUSDT"})
    with transaction() as connection:
        upsert_instruments(connection, [bitcoin])
    with market_engine().begin() as connection:
        connection.exec_driver_sql("truncate ohlc_1m, ohlc_5m, ohlc_15m, ohlc_1h, minute_coverage, minute_gaps")
    router = IntradayRouter(crypto=["binance"]).over({"binance": BinanceProvider()})
    work = MinutesRun("ohlc_1m", router, Window.of_dates(first, last), "bench", datetime.now(UTC))
    started = time.perf_counter()
    outcome = update_minutes(work, [bitcoin], logging.getLogger("bench"))["ohlc_1m"]
    if outcome.inserted != ((last - first).days + 1) * 1440:
        raise SystemExit(f"{outcome.inserted} rows were stored: {outcome.failures or outcome.deferred}")
    return time.perf_counter() - started


def measure(box: "Sandbox", name: str, files: str, repetitions: int) -> None:
    """Print one line."""
    from financehub_dagster.settings import get_settings

    os.environ["FINANCEHUB_BULK_FILES"] = files
    get_settings.cache_clear()
    seconds = []
    for _ in range(repetitions):
        box.clear_calls()
        seconds.append(fill(*SPANS[name]))
    calls = box.calls("binance", detail=True)["calls"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{name}, bulk files {files}: {len(calls)} requests, weight {sum(call['weight'] for call in calls)}, "
        f"{statistics.median(seconds):.2f} s, peak memory so far {memory} MB"
    )


def main() -> None:
    """Print a line for each span and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repetition instead of three")
    repetitions = 1 if parser.parse_args().quick else 3
    with database():
        from financehub_dagster.sandbox.client import running_sandbox
        from financehub_dagster.settings import get_settings

        with running_sandbox() as box:
            os.environ |= box.environment
            get_settings.cache_clear()
            fill(*SPANS["a month"])  # imports, and the sandbox makes up its days
            box.latency(LATENCY_MS)
            for name in SPANS:
                for files in ("off", "on"):
                    measure(box, name, files, repetitions)


if __name__ == "__main__":
    main()
