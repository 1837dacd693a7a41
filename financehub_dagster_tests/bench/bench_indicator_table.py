"""`indicators_daily` end to end (read, compute, write) against pandas-ta's loop, which only computes.

Ours runs as the asset does, on an embedded server with durable commits: once over the whole history into an empty
table, once more over the same (nothing changes), and once for the newest month, which is what a schedule does every
hour: full histories are read and computed, one month is compared and written. Wall seconds for ours, CPU seconds for
the rival, whose figure comes from a few instruments times the number of instruments.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from financehub_dagster.assets.config import Universe
from financehub_dagster.assets.indicator_update import update_indicators
from financehub_dagster.assets.partitions import Window
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage import embedded, migrations, tables, writer
from financehub_dagster.storage.engine import reset_engine, transaction
from financehub_dagster.storage.instruments import upsert_instruments
from financehub_dagster_tests.bench.bench_indicators import cpu_seconds, pandas_ta_loop
from financehub_dagster_tests.properties.markets import random_bars

HISTORY = 2520
START = date(2014, 1, 1)


def fill(instruments: int) -> Window:
    """Store `instruments` × 2,520 bars; the window is all of them."""
    names = [f"S{number:04d}" for number in range(instruments)]
    markets = [random_bars(HISTORY, seed) for seed in range(instruments)]
    with transaction() as connection:
        upsert_instruments(connection, [Instrument(name, name, AssetType.STOCK, "XNYS") for name in names])
        columns = {
            name: np.concatenate([getattr(market, name) for market in markets])
            for name in ("open", "high", "low", "close", "volume")
        }
        rows = instruments * HISTORY
        writer.write(
            connection,
            tables.stock_prices_daily,
            {
                "symbol": np.repeat(np.array(names, object), HISTORY),
                "date": np.tile(np.datetime64(START) + np.arange(HISTORY), instruments),
                **columns,
                "adj_close": columns["close"],
                "source": np.full(rows, "bench", object),
                "fetched_at": np.full(rows, np.datetime64("2024-01-01T00:00:00")),
            },
            run_id=None,
            keep_revisions=False,
        )
    return Window(START, START + timedelta(days=HISTORY - 1), "all")


def wall_seconds(window: Window) -> float:
    """One run of the asset's engine."""
    start = time.perf_counter()
    update_indicators(window, Universe(), "bench", logging.getLogger("bench"))
    return time.perf_counter() - start


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 instruments instead of 500")
    quick = parser.parse_args().quick
    instruments, sample = (100, 3) if quick else (500, 10)
    frames = [pd.DataFrame(vars(random_bars(HISTORY, seed))) for seed in range(sample)]
    pandas_ta_loop(frames[:1])
    rival = statistics.median(cpu_seconds(lambda: pandas_ta_loop(frames)) for _ in range(3)) * instruments / sample
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        os.environ |= {"FINANCEHUB_HOME": folder, "FINANCEHUB_DATABASE_URL": ""}
        get_settings.cache_clear()
        try:
            migrations.upgrade()
            window = fill(instruments)
            month = Window(window.end - timedelta(days=30), window.end, "month")
            figures = {
                "whole history, new": wall_seconds(window),
                "whole history, again": wall_seconds(window),
                "newest month": statistics.median(wall_seconds(month) for _ in range(5)),
            }
        finally:
            reset_engine()
            embedded.stop(Path(folder))
    print(f"{instruments} instruments × {HISTORY:,} bars; pandas-ta's loop, computing alone: {rival:.1f} s CPU")
    for name, seconds in figures.items():
        print(f"{name:22} {seconds:6.2f} s   pandas-ta takes {rival / seconds:5.1f} × as long")


if __name__ == "__main__":
    main()
