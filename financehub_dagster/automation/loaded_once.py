"""What runs need, loaded by importing this: once, in the process that they are forked from (`run_processes`).

Belongs here: what most runs would import in the middle of their work. Does not belong here: anything that opens a
connection, starts a thread, or depends on the environment, which each run reads anew.
"""

from importlib import import_module

from financehub_dagster.garbage_collection import collect_seldom
from financehub_dagster.settings import get_settings

LOADED_ONCE = (
    "binance.client",
    "dagster._grpc.impl",
    "mplfinance",
    "upath.core",
    "yfinance",
    "financehub_dagster.assets.bar_table",
    "financehub_dagster.assets.reporting",
    "financehub_dagster.assets.snapshot_table",
    "financehub_dagster.automation.failures.recovery",
    "financehub_dagster.ingest.derived",
    "financehub_dagster.market.indicators.engine",
    "financehub_dagster.market.quality.bar_rules",
    "financehub_dagster.market.schemas",
    "financehub_dagster.providers.binance.client",
    "financehub_dagster.providers.yahoo.client",
    "financehub_dagster.storage.coverage.ledger",
    "financehub_dagster.storage.database.dagster_storage",
    "financehub_dagster.storage.upsert.binary_copy",
)

for name in LOADED_ONCE:
    import_module(name)
collect_seldom()
get_settings.cache_clear()
