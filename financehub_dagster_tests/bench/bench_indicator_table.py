"""`indicators_daily` end to end (read, compute, write) against pandas-ta's loop, end to end too.

Ours runs as the asset does, on an embedded server with durable commits: once over the whole history into an empty
table, once more over the same (nothing changes), and once for the newest month, which is what a schedule does every
hour: full histories are read and computed, one month is compared and written. The rival reads one instrument after the
other with pandas.read_sql, computes with pandas-ta, and appends the same rows to an equal table with DataFrame.to_sql
(without method="multi", which takes ten times as long). It takes so long that a few instruments stand for all. Wall
seconds for both, the rival before and after ours; its computing alone, in CPU seconds, is named beside it.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import sqlalchemy as sa

from financehub_dagster.assets.config import Universe
from financehub_dagster.assets.indicator_update import update_indicators
from financehub_dagster.assets.partitions import Window
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage import embedded, migrations, tables, writer
from financehub_dagster.storage.engine import market_engine, reset_engine, transaction
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


NAMED = {
    **{f"sma_{length}": f"SMA_{length}" for length in (20, 50, 200)},
    **{f"ema_{length}": f"EMA_{length}" for length in (12, 26)},
    "rsi_14": "RSI_14",
    "macd": "MACD_12_26_9",
    "macd_signal": "MACDs_12_26_9",
    "macd_hist": "MACDh_12_26_9",
    "bb_upper": "BBU_",
    "bb_middle": "BBM_",
    "bb_lower": "BBL_",
    "atr_14": "ATRr_14",
    "adx_14": "ADX_14",
    "stoch_k": "STOCHk_",
    "stoch_d": "STOCHd_",
    "cci_20": "CCI_20",
    "obv": "OBV",
    "mfi_14": "MFI_14",
    "willr_14": "WILLR_14",
    "roc_10": "ROC_10",
    "psar": "PSARl_",
    "supertrend": "SUPERT_",
    "donchian_upper": "DCU_",
    "donchian_lower": "DCL_",
    "keltner_upper": "KCU",
    "keltner_lower": "KCL",
}
"""The beginning of pandas-ta's name for each of our columns; its SAR stands in two, of which the first is stored."""


def pandas_ta_end_to_end(symbols: Sequence[str], window: Window) -> None:
    """Read, compute and write as pandas-ta's users do, one instrument after the other."""
    read = sa.text("select * from stock_prices_daily where symbol = :symbol order by date")
    for symbol in symbols:
        frame = pd.read_sql(read, market_engine(), params={"symbol": symbol}, parse_dates=["date"])
        found = pd.concat(cast("list[pd.DataFrame]", pandas_ta_loop([frame])), axis=1)
        columns = {
            ours: next(found[name] for name in found if str(name).startswith(start)) for ours, start in NAMED.items()
        }
        rows = pd.DataFrame(
            {"symbol": symbol, "date": frame["date"], **columns, "computed_at": pd.Timestamp.now("UTC")}
        )
        wanted = rows[rows["date"].between(pd.Timestamp(window.start), pd.Timestamp(window.end))]
        wanted.to_sql("rival", market_engine(), if_exists="append", index=False, chunksize=1000)


def rival_seconds(symbols: Sequence[str], window: Window) -> float:
    """Wall seconds per instrument, into a table like ours."""
    with transaction() as connection:
        connection.execute(sa.text("drop table if exists rival"))
        connection.execute(sa.text("create table rival (like indicators_daily including all)"))
    start = time.perf_counter()
    pandas_ta_end_to_end(symbols, window)
    return (time.perf_counter() - start) / len(symbols)


def measure(instruments: int, sample: int) -> dict[str, tuple[float, float]]:
    """Wall seconds of ours and of the rival's end to end, by what was asked for."""
    whole = fill(instruments)
    month = Window(whole.end - timedelta(days=30), whole.end, "month")
    few = [f"S{number:04d}" for number in range(sample)]
    rival_seconds(few[:1], whole)
    before = rival_seconds(few, whole), rival_seconds(few, month)
    new, again = wall_seconds(whole), wall_seconds(whole)
    newest = statistics.median(wall_seconds(month) for _ in range(5))
    after = rival_seconds(few, whole), rival_seconds(few, month)
    rival_whole, rival_month = ((one + other) / 2 * instruments for one, other in zip(before, after, strict=True))
    return {
        "whole history, new": (new, rival_whole),
        "whole history, again": (again, rival_whole),
        "newest month": (newest, rival_month),
    }


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 instruments instead of 500")
    quick = parser.parse_args().quick
    instruments, sample = (100, 3) if quick else (500, 10)
    frames = [pd.DataFrame(vars(random_bars(HISTORY, seed))) for seed in range(sample)]
    pandas_ta_loop(frames[:1])
    alone = statistics.median(cpu_seconds(lambda: pandas_ta_loop(frames)) for _ in range(3)) * instruments / sample
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        os.environ |= {"FINANCEHUB_HOME": folder, "FINANCEHUB_DATABASE_URL": ""}
        get_settings.cache_clear()
        try:
            migrations.upgrade()
            figures = measure(instruments, sample)
        finally:
            reset_engine()
            embedded.stop(Path(folder))
    print(f"{instruments} instruments × {HISTORY:,} bars; pandas-ta's loop, computing alone: {alone:.1f} s CPU")
    for name, (ours, rival) in figures.items():
        print(
            f"{name:22} {ours:6.2f} s; pandas-ta's loop end to end {rival:6.1f} s, {rival / ours:5.1f} × as long "
            f"(goal 20); its computing alone {alone / ours:5.1f} ×"
        )


if __name__ == "__main__":
    main()
