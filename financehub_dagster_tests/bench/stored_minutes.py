"""Stored minutes, for `bench_intraday`: reading few of many, moving a month to the archive and back, dropping it.

Synthetic, as of a real vendor: prices walk in cents, and all instruments are fetched together within half a minute of
each bar. One month of 21 New York sessions in one partition. Wall time.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from itertools import batched
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from financehub_dagster import read
from financehub_dagster.market.intraday.trading_hours import MINUTE, trading_hours
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.archive import moving, partitions
from financehub_dagster.storage.archive.files import ArchivedMonth
from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import raw_cursor, transaction
from financehub_dagster.storage.database.month_partitions import ensure_months
from financehub_dagster.storage.database.urls import libpq_url
from financehub_dagster.storage.upsert.batch import make_batch
from financehub_dagster.storage.upsert.binary_copy import encode
from financehub_dagster_tests.bench.bench_writer import migrated_engine
from financehub_dagster_tests.fixtures.database import reset_engine

TABLE, MONTH, NEXT = "ohlc_1m", date(2026, 6, 1), "2026-07-01"
TOGETHER = 30
"""Minutes of all instruments that are written together, or instruments of which all minutes are."""


def measure(rows: int, *, by_symbol: bool) -> None:
    """Store about so many minutes, and print milliseconds, seconds and bytes.

    by_symbol: they are written instrument by instrument, as seeds do, and not in the order of time, as ticks do; what
    does not depend on it is measured in one of the two forms.
    """
    minutes = trading_hours("XNYS").minutes(np.datetime64(MONTH, "s"), np.datetime64(NEXT, "s"))
    symbols = [f"S{number:05d}" for number in range(max(rows // minutes.size, 1))]
    with migrated_engine() as engine, tempfile.TemporaryDirectory() as home:
        os.environ |= {"FINANCEHUB_DATABASE_URL": libpq_url(engine.url), "FINANCEHUB_HOME": home}
        get_settings.cache_clear()
        reset_engine()
        store(engine, symbols, minutes, by_symbol=by_symbol)
        count = len(symbols) * minutes.size
        order = "instrument by instrument" if by_symbol else "in the order of time"
        print(f"{count:,} stored minutes of {len(symbols):,} instruments, one month of New York, written {order}")
        few(symbols, minutes, "in the database")
        if by_symbol:
            reset_engine()
            return
        move(count)
        few(symbols, minutes, "in the archive")
        back(engine, count)
        reset_engine()


def store(engine: Engine, symbols: list[str], minutes: np.ndarray, *, by_symbol: bool) -> None:
    """Copy the rows into their partition, half an hour of all instruments at a time, or all of some instruments."""
    table = schema.table(TABLE)
    with engine.begin() as connection:
        ensure_months(connection, TABLE, [MONTH])
        connection.execute(
            sa.text(
                "insert into instruments (symbol, name, asset_type, exchange, currency, timezone) select symbol, "
                "symbol, 'stock', 'XNYS', 'USD', 'America/New_York' from unnest(cast(:symbols as text[])) as symbol"
            ),
            {"symbols": symbols},
        )
    for bars in _batches(symbols, minutes, by_symbol=by_symbol):
        batch = make_batch(table, bars)
        with (
            engine.begin() as connection,
            raw_cursor(connection) as cursor,
            cursor.copy(f"copy {TABLE} from stdin (format binary)") as target,
        ):
            for piece in encode(batch.fields, batch.rows):
                target.write(piece)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum analyze"))


def _batches(symbols: list[str], minutes: np.ndarray, *, by_symbol: bool) -> Iterator[dict[str, np.ndarray]]:
    if by_symbol:
        for some in batched(symbols, TOGETHER):
            yield Prices(len(some)).bars(list(some), minutes)
        return
    month = Prices(len(symbols))
    for stretch in np.array_split(minutes, minutes.size // TOGETHER):
        yield month.bars(symbols, stretch)


class Prices:
    """Instruments between 10 and 500 dollars whose prices move by some hundredths of a percent a minute."""

    def __init__(self, instruments: int) -> None:
        self._random = np.random.default_rng(1)
        self._last = self._random.uniform(10, 500, (instruments, 1))

    def bars(self, symbols: list[str], minutes: np.ndarray) -> dict[str, np.ndarray]:
        """The next minutes of all instruments."""
        random, shape = self._random, (len(symbols), minutes.size)
        close = self._last * np.exp(np.cumsum(random.normal(0, 4e-4, shape), axis=1))
        before = np.hstack([self._last, close[:, :-1]])
        self._last = close[:, -1:]
        opened = before * (1 + random.normal(0, 5e-5, shape))
        wick = np.abs(random.normal(0, 2e-4, (2, *shape))) * close
        high, low = np.maximum(opened, close) + wick[0], np.minimum(opened, close) - wick[1]
        fetched = minutes + MINUTE + random.integers(1, 30_000_000, minutes.size).astype("timedelta64[us]")
        return {
            "symbol": np.repeat(np.array(symbols, object), minutes.size),
            "ts": np.tile(minutes.astype("datetime64[us]"), shape[0]),
            "open": np.round(opened, 2).ravel(),
            "high": np.round(high, 2).ravel(),
            "low": np.round(low, 2).ravel(),
            "close": np.round(close, 2).ravel(),
            "volume": np.floor(random.lognormal(7, 1.2, shape)).ravel(),
            "source": np.full(close.size, "yahoo", object),
            "fetched_at": np.tile(fetched.astype("datetime64[us]"), shape[0]),
        }


def few(symbols: list[str], minutes: np.ndarray, where: str) -> None:
    """One symbol's day, and one minute of all symbols; each question another one."""
    days = np.unique(minutes.astype("datetime64[D]")).astype(str).tolist()
    asked = [symbols[number] for number in np.linspace(0, len(symbols) - 1, 21).astype(int)]
    day = [
        milliseconds(partial(read, TABLE, symbols=symbol, start=at, end=at, to="arrow"))
        for symbol, at in zip(asked, days, strict=False)
    ]
    times = [f"{at}Z" for at in minutes[:: minutes.size // 21].astype(str)]
    minute = [milliseconds(partial(read, TABLE, start=at, end=at, to="arrow")) for at in times]
    print(
        f"{where}: one symbol's day {statistics.median(day):.1f} ms (goal 5), "
        f"one minute of all {statistics.median(minute):.1f} ms (goal 50)"
    )


def move(count: int) -> None:
    """Archive the month."""
    seconds, done = timed(lambda: moving.archive_month(TABLE, MONTH))
    assert isinstance(done, ArchivedMonth)
    assert done.rows == count
    print(
        f"archived and dropped in {seconds:.1f} s, {count / seconds / 1e3:,.0f} thousand rows/s; "
        f"{done.bytes / count:.1f} bytes per bar (goal 20)"
    )


def back(engine: Engine, count: int) -> None:
    """Restore the month, and drop it as the last step of archiving does: long after it was written to the disk."""
    seconds, _ = timed(lambda: moving.restore_month(TABLE, MONTH))
    print(f"restored in {seconds:.1f} s, {count / seconds / 1e3:,.0f} thousand rows/s")

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("checkpoint"))

    def drop() -> None:
        with transaction() as connection:
            partitions.drop(connection, schema.table(TABLE), MONTH)

    print(f"dropped in {timed(drop)[0]:.2f} s (goal 1)")
    assert not Path(get_settings().home, "archive", TABLE, f".{MONTH:%Y-%m}.parquet.new").exists()


def timed[T](work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def milliseconds(work: Callable[[], object]) -> float:
    """Of one call."""
    return timed(work)[0] * 1e3
