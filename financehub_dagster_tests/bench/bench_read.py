"""Reading 1.26 million daily bars: small questions, everything into Arrow, as of a time, and exported to Parquet.

The rivals read the same rows in the same run, on the same embedded server: pandas.read_sql as most projects do it, and
the bytes of a binary COPY through psycopg, which nobody has parsed yet. Wall time; turns are interleaved, and figures
are medians.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from financehub_dagster import read
from financehub_dagster.cli.console import silent
from financehub_dagster.serving.export import export
from financehub_dagster.serving.questions import ask
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.engine import raw_cursor
from financehub_dagster.storage.database.urls import libpq_url
from financehub_dagster_tests.bench.bench_writer import HISTORY, migrated_engine, ours, random_bars

BARS = "stock_prices_daily"
REVISED = 0.001
"""Share of the rows that are revised after the time as of which the table is read."""


def main() -> None:
    """Print milliseconds, rows per second, and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="252,000 bars, 3 turns")
    options = parser.parse_args()
    rows, turns = (100 * HISTORY, 3) if options.quick else (500 * HISTORY, 5)
    with migrated_engine() as engine:
        os.environ["FINANCEHUB_DATABASE_URL"] = libpq_url(engine.url)
        get_settings.cache_clear()
        at = fill(engine, rows)
        print(f"{rows:,} bars of {rows // HISTORY} symbols, {engine.dialect.server_version_info}")
        small(rows)
        whole(engine, rows, turns, at)


def fill(engine: Engine, rows: int) -> str:
    """Store the bars, then revise some; returns a time before that."""
    columns = random_bars(rows)
    ours(engine, columns)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into instruments (symbol, name, asset_type, exchange, currency, timezone) "
                f"select distinct symbol, symbol, 'stock', 'XNYS', 'USD', 'America/New_York' from {BARS}"
            )
        )
        at: str = connection.execute(sa.text("select clock_timestamp()::text")).scalar_one()
    step = round(1 / REVISED)
    revised = {name: values[::step] for name, values in columns.items()}
    ours(engine, {**revised, "close": revised["close"] + 1})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum analyze"))
    return at.replace(" ", "T") + ":00"


def small(rows: int) -> None:
    """One symbol's ten years, and one day of all symbols; each question another symbol or day."""
    symbols = [f"S{number:04d}" for number in range(0, rows // HISTORY, max(1, rows // HISTORY // 50))]
    days = [str(day.date()) for day in pd.date_range("2014-06-01", periods=50)]
    for to in ("pandas", "polars", "arrow"):
        one = [milliseconds(partial(read, BARS, symbols=symbol, to=to)) for symbol in symbols]
        day = [milliseconds(partial(read, BARS, start=day, end=day, to=to)) for day in days]
        print(
            f"{to}: one symbol's ten years {statistics.median(one):.1f} ms (goal 5), "
            f"one day of all {statistics.median(day):.1f} ms (goal 4)"
        )


def whole(engine: Engine, rows: int, turns: int, at: str) -> None:
    """Everything: each figure once per turn, and the medians of the ratios within a turn."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bars.parquet"
        figures: dict[str, Callable[[], object]] = {
            "arrow": lambda: read(BARS, to="arrow"),
            "as of": lambda: read(BARS, to="arrow", as_of=at),
            "repaired": lambda: read(BARS, to="arrow", repaired=True),
            "pandas": lambda: read(BARS),
            "copy": lambda: copy(engine),
            "read_sql": lambda: read_sql(engine),
            "raw": lambda: read(BARS, to="arrow", adjust="raw"),
            "adjusted": lambda: read(BARS, to="arrow", adjust="adjusted"),
            "parquet": lambda: export(ask(BARS), target, "parquet", silent),
        }
        taken = [{name: milliseconds(work) / 1000 for name, work in figures.items()} for _ in range(turns)]
        size = target.stat().st_size
    median = {name: statistics.median(turn[name] for turn in taken) for name in figures}
    for name, seconds in median.items():
        print(f"{name}: {seconds:.2f} s, {rows / seconds / 1e6:.2f} million rows/s")
    faster = statistics.median(turn["read_sql"] / turn["arrow"] for turn in taken)
    as_of, repaired = (
        statistics.median(turn[name] / turn["arrow"] for turn in taken) for name in ("as of", "repaired")
    )
    print(f"  arrow compared with pandas.read_sql {faster:.1f}x (goal 5x, or 2 million rows/s)")
    print(
        f"  as of a time compared with the plain read {as_of:.2f}x (goal 1.5x), {REVISED:.1%} of the rows revised since"
    )
    print(f"  with repairs compared with the plain read {repaired:.2f}x")
    print(f"  export to Parquet {median['parquet']:.2f} s (goal 3), {size / 1e6:.0f} MB")


def copy(engine: Engine) -> int:
    """The bytes of a binary COPY of the table, in the order of its key."""
    query = f"copy (select * from {BARS} order by symbol, date) to stdout (format binary)"
    with engine.begin() as connection, raw_cursor(connection) as cursor, cursor.copy(query) as source:
        return sum(len(piece) for piece in source)


def read_sql(engine: Engine) -> pd.DataFrame:
    """The table as most projects read it."""
    with engine.connect() as connection:
        return pd.read_sql(sa.text(f"select * from {BARS} order by symbol, date"), connection)


def milliseconds(work: Callable[[], object]) -> float:
    """Wall milliseconds of one call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()
