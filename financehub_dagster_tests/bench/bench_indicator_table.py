"""`indicators_daily` end to end (read, compute, write) against pandas-ta's loop, end to end too.

Ours runs as the asset does, on an embedded server with durable commits: once over the whole history into an empty
table, once more over the same (nothing changes), and once for the newest month, which is what a schedule does every
hour: full histories are read and computed, one month is compared and written. The rival reads one instrument after the
other with pandas.read_sql, computes with pandas-ta, and appends the same rows to an equal table with DataFrame.to_sql
(without method="multi", which takes ten times as long). It takes so long that a few instruments stand for all, and both
have imported what they need. The floor under new rows is one COPY of the bytes of some of them into a table like ours.

Wall seconds; turns are interleaved, ratios are medians of the ratios within a turn. CPU seconds of both parties, this
process and the server, tell a slow program from a busy machine.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import psutil
import sqlalchemy as sa

from financehub_dagster.ingest.derived import computed, update_derived
from financehub_dagster.ingest.partitions import Window
from financehub_dagster.ingest.run_config import Universe
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database import embedded, migrations, schema
from financehub_dagster.storage.database.engine import market_engine, raw_cursor, transaction
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster.storage.upsert import upsert
from financehub_dagster.storage.upsert.batch import make_batch
from financehub_dagster.storage.upsert.binary_copy import encode
from financehub_dagster_tests.bench.bench_indicators import pandas_ta_loop
from financehub_dagster_tests.fixtures.database import reset_engine
from financehub_dagster_tests.properties.markets import random_bars

HISTORY = 2520
START = date(2014, 1, 1)
COPIED = 50
"""Instruments whose rows the floor copies: 44 MB."""


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
        upsert.write(
            connection,
            schema.table("stock_prices_daily"),
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


type Turns = list[tuple["Took", "Took"]]
"""Ours and the rival's."""


class Took(NamedTuple):
    """Seconds that something took: by the clock, and of the processor in this process and in the server's."""

    wall: float
    own: float
    server: float

    def times(self, factor: float) -> "Took":
        """So many times as long."""
        return Took(*(seconds * factor for seconds in self))


def took(work: Callable[[], None]) -> Took:
    """One call, with nothing left to flush from the one before."""
    with market_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("checkpoint"))
    own, server, start = time.process_time(), server_seconds(), time.perf_counter()
    work()
    wall = time.perf_counter() - start
    return Took(wall, time.process_time() - own, server_seconds() - server)


def server_seconds() -> float:
    """CPU seconds of the embedded server's processes so far."""
    postmaster = psutil.Process(embedded.ensure_running(Path(get_settings().financehub_home)).pid)
    times = [process.cpu_times() for process in (postmaster, *postmaster.children())]
    return sum(each.user + each.system for each in times)


def ours(window: Window) -> None:
    """One run of the asset's engine."""
    update_derived("indicators_daily", window, Universe(), "bench", logging.getLogger("bench"))


def empty() -> None:
    """As before the first indicator was computed."""
    with transaction() as connection:
        connection.execute(sa.text("truncate indicators_daily, coverage, unreported_writes"))


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


def bare_copy(data: bytes) -> Took:
    """One COPY into a table like ours."""
    create_like("floor")

    def copy() -> None:
        into = "copy floor from stdin (format binary)"
        with transaction() as connection, raw_cursor(connection) as cursor, cursor.copy(into) as target:
            target.write(data)

    return took(copy)


def copied(symbols: Sequence[str], window: Window) -> bytes:
    """The bytes that a COPY of the indicators of `symbols` sends."""
    batch = make_batch(
        schema.table("indicators_daily"),
        computed("indicators_daily", "stock_prices_daily", symbols, window).columns,
    )
    return b"".join(encode(batch.fields, batch.rows))


def create_like(name: str) -> None:
    """An empty table like ours, with its key."""
    with transaction() as connection:
        connection.execute(sa.text(f"drop table if exists {name}"))
        connection.execute(sa.text(f"create table {name} (like indicators_daily including all)"))


def rival(symbols: Sequence[str], window: Window) -> Took:
    """pandas-ta's loop into a table like ours."""
    create_like("rival")
    return took(lambda: pandas_ta_end_to_end(symbols, window))


def measure(instruments: int, sample: int, turns: int) -> tuple[dict[str, Turns], list[Took]]:
    """What ours and the rival's end to end took in each turn, by what was asked for, and the floor."""
    whole = fill(instruments)
    month = Window(whole.end - timedelta(days=30), whole.end, "month")
    few = [f"S{number:04d}" for number in range(sample)]
    rival(few[:1], whole)
    ours(month)
    figures: dict[str, Turns] = {}
    some = copied([f"S{number:04d}" for number in range(COPIED)], whole)
    floors = []
    for _ in range(turns):
        empty()
        floors.append(bare_copy(some).times(instruments / COPIED))
        all_of_it, newest = (rival(few, window).times(instruments / sample) for window in (whole, month))
        for name, window, theirs in (
            ("whole history, new", whole, all_of_it),
            ("whole history, again", whole, all_of_it),
            ("newest month", month, newest),
        ):
            figures.setdefault(name, []).append((took(partial(ours, window)), theirs))
    return figures, floors


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 instruments instead of 500")
    quick = parser.parse_args().quick
    instruments, sample, turns = (100, 3, 5) if quick else (500, 10, 5)
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        os.environ |= {"FINANCEHUB_HOME": folder, "FINANCEHUB_DATABASE_URL": ""}
        get_settings.cache_clear()
        try:
            migrations.upgrade()
            figures, floors = measure(instruments, sample, turns)
        finally:
            reset_engine()
            embedded.stop(Path(folder))
    print(f"{instruments} instruments × {HISTORY:,} bars, {turns} turns; wall seconds (CPU seconds: program + server)")
    print(f"floor: a bare COPY of the new rows into a table with its key: {in_words(floors)}")
    for name, pairs in figures.items():
        ratio, in_cpu = (statistics.median(other / own for own, other in each) for each in ratios(pairs))
        sides = (in_words([pair[side] for pair in pairs]) for side in (0, 1))
        print(f"{name:21} {' against '.join(sides)}: {ratio:.1f} × as long (goal 20), {in_cpu:.1f} × the CPU time")


def ratios(pairs: Turns) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Wall seconds and CPU seconds of ours and the rival's, turn by turn."""
    return [(a.wall, b.wall) for a, b in pairs], [(a.own + a.server, b.own + b.server) for a, b in pairs]


def in_words(turns: Sequence[Took]) -> str:
    """The medians, in words."""
    wall, own, server = (statistics.median(seconds) for seconds in zip(*turns, strict=True))
    return f"{wall:.2f} s ({own:.2f} + {server:.2f})"


if __name__ == "__main__":
    main()
