"""Writing daily bars: ours, new and again, against a bare binary COPY and against SQLAlchemy's executemany.

The floor copies the same bytes into a table without index, constraint or comparison. executemany is an upsert of
dictionaries through SQLAlchemy Core, as most projects write, into the same table as ours; it gets fewer rows, and its
rate counts. Wall time, since most of the work is the server's, on an embedded server with durable commits; repeats are
interleaved, ratios are medians of the ratios within a repeat.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL, Engine

from financehub_dagster.storage.database import embedded, migrations, schema
from financehub_dagster.storage.database.engine import make_engine, raw_cursor
from financehub_dagster.storage.database.urls import MARKET_DRIVER
from financehub_dagster.storage.upsert.batch import make_batch
from financehub_dagster.storage.upsert.binary_copy import encode
from financehub_dagster.storage.upsert.upsert import write

table = schema.table("stock_prices_daily")

type Columns = dict[str, np.ndarray[Any, Any]]

HISTORY = 2520
"""Sessions per instrument: ten years."""
EXECUTEMANY_ROWS = 20_000
FIGURES = ("floor", "executemany", "fresh", "identical")


def random_bars(rows: int) -> Columns:
    """Bars with four decimals, as vendors send them."""
    rng = np.random.default_rng(1)
    numbers = np.arange(rows)
    symbols = np.array([f"S{number:04d}" for number in range(rows // HISTORY + 1)], object)
    prices = {name: rng.uniform(1, 1000, rows).round(4) for name in ("open", "high", "low", "close", "adj_close")}
    return {
        "symbol": symbols[numbers // HISTORY],
        "date": np.datetime64("2014-01-01") + numbers % HISTORY,
        **prices,
        "volume": rng.integers(0, 10**8, rows).astype(float),
        "source": np.full(rows, "yahoo", object),
        "fetched_at": np.full(rows, np.datetime64("2024-03-01T12:00:00")),
    }


def floor(engine: Engine, columns: Columns) -> None:
    """One binary COPY and its commit."""
    batch = make_batch(table, columns)
    into = "copy bare from stdin (format binary)"
    with engine.begin() as connection, raw_cursor(connection) as cursor, cursor.copy(into) as copy:
        for piece in encode(batch.fields, batch.rows):
            copy.write(piece)


def executemany(engine: Engine, rows: list[dict[str, Any]]) -> None:
    """An upsert of dictionaries."""
    statement = insert(table)
    key = [column.name for column in table.primary_key.columns]
    new = {column.name: statement.excluded[column.name] for column in table.c if column.name not in key}
    with engine.begin() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=new), rows)


def ours(engine: Engine, columns: Columns) -> None:
    """The product's writer, as the assets call it."""
    with engine.begin() as connection:
        write(connection, table, columns, run_id="bench", keep_revisions=True, derived=["indicators_daily"])


def seconds(work: Callable[[], None]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def migrated_engine() -> Iterator[Engine]:
    """An embedded server of its own with the product's tables and a bare one without key."""
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        server = embedded.ensure_running(Path(folder))
        place = {"host": str(server.socket_folder)}
        url = URL.create(MARKET_DRIVER, username="postgres", database="bench", query=place)
        migrations.upgrade(url)
        engine = make_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text(f"create table bare (like {table.name})"))
        yield engine
        engine.dispose()
        embedded.release(Path(folder))


def rates(engine: Engine, columns: Columns, few: list[dict[str, Any]]) -> tuple[float, float, float, float]:
    """Rows per second of each figure, in one turn."""
    rows = len(columns["symbol"])
    empty(engine)
    bare = rows / seconds(lambda: floor(engine, columns))
    many = len(few) / seconds(lambda: executemany(engine, few))
    empty(engine)
    fresh = rows / seconds(lambda: ours(engine, columns))
    return bare, many, fresh, rows / seconds(lambda: ours(engine, columns))


def empty(engine: Engine) -> None:
    """Start every figure from the same tables, with nothing left to flush from the one before."""
    with engine.begin() as connection:
        connection.execute(sa.text(f"truncate bare, {table.name}, dirty_marks"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("checkpoint"))


def main() -> None:
    """Print thousand rows per second and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 repeats of 20,000 rows")
    parser.add_argument("--full", action="store_true", help="also a million rows")
    options = parser.parse_args()
    sizes = [(20_000, 3)] if options.quick else [(100_000, 7), *([(1_000_000, 3)] if options.full else [])]
    with migrated_engine() as engine:
        for rows, repeats in sizes:
            columns = random_bars(rows)
            few = [dict(zip(columns, row, strict=True)) for row in zip(*sample(columns), strict=True)]
            rates(engine, columns, few)
            turns = [rates(engine, columns, few) for _ in range(repeats)]
            report(rows, turns)


def sample(columns: Columns) -> list[list[Any]]:
    """The first rows as Python values."""
    return [column[:EXECUTEMANY_ROWS].tolist() for column in columns.values()]


def report(rows: int, turns: list[tuple[float, float, float, float]]) -> None:
    """One block of lines for one size."""
    medians = [statistics.median(column) / 1000 for column in zip(*turns, strict=True)]
    figures = ", ".join(f"{name} {rate:.0f}" for name, rate in zip(FIGURES, medians, strict=True))
    to_floor, to_many, again = (
        statistics.median(turn[a] / turn[b] for turn in turns) for a, b in ((2, 0), (2, 1), (3, 2))
    )
    print(f"{rows:,} bars, thousand rows/s: {figures}")
    print(f"  fresh / floor {to_floor:.2f} (goal 0.25), fresh / executemany {to_many:.1f} (goal 5)")
    print(f"  identical / fresh {again:.2f} (goal 1.5)")


if __name__ == "__main__":
    main()
