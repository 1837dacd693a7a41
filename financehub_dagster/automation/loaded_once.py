"""What runs need, loaded by importing this: once, in the process that they are forked from (`run_processes`).

Belongs here: what most runs would import in the middle of their work, and what Dagster does in each of them for people
at a terminal. Does not belong here: anything that opens a connection, starts a thread, or depends on the environment,
which each run reads anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import IO

from dagster._core.execution import compute_logs

from financehub_dagster.garbage_collection import collect_seldom
from financehub_dagster.settings import get_settings

LOADED_ONCE = (
    "binance.client",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._grpc.impl",
    "matplotlib.backends.backend_agg",
    "mplfinance",
    "upath.core",
    "yfinance",
    "financehub_dagster.assets.bar_table",
    "financehub_dagster.assets.charts.signals",
    "financehub_dagster.assets.derived_table",
    "financehub_dagster.assets.reporting",
    "financehub_dagster.assets.snapshot_table",
    "financehub_dagster.automation.failures.recovery",
    "financehub_dagster.automation.run_coordinator",
    "financehub_dagster.ingest.derived",
    "financehub_dagster.ingest.intraday.longer_bars",
    "financehub_dagster.ingest.intraday.minutes",
    "financehub_dagster.market.adjustments",
    "financehub_dagster.market.indicators.engine",
    "financehub_dagster.market.indicators.rows",
    "financehub_dagster.market.levels",
    "financehub_dagster.market.quality.acceptance",
    "financehub_dagster.market.quality.bar_rules",
    "financehub_dagster.market.quality.doubts",
    "financehub_dagster.market.quality.repairs",
    "financehub_dagster.market.quality.series",
    "financehub_dagster.market.quality.snapshot_rules",
    "financehub_dagster.market.schemas",
    "financehub_dagster.market.signals.firing",
    "financehub_dagster.providers.binance.client",
    "financehub_dagster.providers.yahoo.client",
    "financehub_dagster.storage.coverage.ledger",
    "financehub_dagster.storage.coverage.minutes",
    "financehub_dagster.storage.database.dagster_storage",
    "financehub_dagster.storage.database.embedded",
    "financehub_dagster.storage.discrepancies",
    "financehub_dagster.storage.operations.notifications",
    "financehub_dagster.storage.queries.recent_signals",
    "financehub_dagster.storage.upsert.binary_copy",
    "financehub_dagster.storage.upsert.unchanged_rows",
)

for name in LOADED_ONCE:
    import_module(name)
collect_seldom()
get_settings.cache_clear()


def show_output_to_nobody() -> None:
    """Let Dagster not copy what runs of this process print, while they work, to where it was started.

    That takes two `tail` and two Pythons per run, 10 MB, and fills a log where nobody looks: the webserver shows each
    run's output by itself, from the file that it is written to.
    """

    @contextmanager
    def nowhere(_path: str, _stream: IO[str]) -> Iterator[None]:
        yield

    if hasattr(compute_logs, "tail_to_stream"):
        compute_logs.tail_to_stream = nowhere  # type: ignore[assignment]
