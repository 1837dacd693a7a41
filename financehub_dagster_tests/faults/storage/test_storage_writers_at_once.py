"""Many writers on the same rows: no deadlock, no duplicate, no lost revision; a killed one leaves nothing half-done."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import sqlalchemy as sa

from financehub_dagster.storage.database import schema
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.database.locks import lock_table
from financehub_dagster.storage.upsert.upsert import WriteResult, write
from financehub_dagster_tests.fixtures.database import Database
from financehub_dagster_tests.fixtures.folder import REPOSITORY

WRITERS, TURNS, SYMBOLS, DAYS = 8, 5, 20, 50
ROWS = SYMBOLS * DAYS

WRITE_AND_WAIT = """
import sys
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster_tests.faults.storage.test_storage_writers_at_once import store

with transaction() as connection:
    store(connection, 1)
    print("written", flush=True)
    sys.stdin.readline()
"""


def store(connection: sa.Connection, number: int) -> WriteResult:
    """Write the same rows in an order and with prices that depend on `number`."""
    order = np.random.default_rng(number).permutation(ROWS)
    price = np.full(ROWS, float(number))
    columns: dict[str, np.ndarray[Any, Any]] = {
        "symbol": np.array([f"S{i:02d}" for i in range(SYMBOLS)], object).repeat(DAYS)[order],
        "date": np.tile(np.datetime64("2024-01-01") + np.arange(DAYS), SYMBOLS)[order],
        **dict.fromkeys(("open", "high", "low", "close", "adj_close", "volume"), price),
        "source": np.full(ROWS, "yahoo", object),
        "fetched_at": np.full(ROWS, np.datetime64("2024-03-01")),
    }
    table = schema.table("stock_prices_daily")
    return write(connection, table, columns, run_id=None, keep_revisions=True, derived=["indicators_daily"])


def test_eight_writers_of_the_same_rows_neither_deadlock_nor_duplicate(database: Database) -> None:
    together = Barrier(WRITERS)

    def work(number: int) -> list[WriteResult]:
        together.wait()
        results = []
        for _ in range(TURNS):
            with transaction() as connection:
                results.append(store(connection, number))
        return results

    with ThreadPoolExecutor(WRITERS) as pool:
        results = [result for batch in pool.map(work, range(1, WRITERS + 1)) for result in batch]
    updated = sum(result.updated for result in results)
    assert sum(result.inserted for result in results) == ROWS
    assert ROWS + updated + sum(result.unchanged for result in results) == WRITERS * TURNS * ROWS
    with database.engine.connect() as connection:
        stored = connection.execute(sa.text("select count(*), count(distinct close) from stock_prices_daily")).one()
        assert tuple(stored) == (ROWS, 1)
        assert connection.execute(sa.text("select count(*) from price_revisions")).scalar() == updated
        assert connection.execute(sa.text("select count(*) from dirty_marks")).scalar() == SYMBOLS


def test_writers_wait_for_each_other_by_symbol_or_for_the_whole_table(database: Database) -> None:
    table = schema.table("indicators_daily")

    def is_free(symbols: list[str] | None) -> bool:
        with transaction() as connection:
            connection.execute(sa.text("set local lock_timeout = '100ms'"))
            try:
                lock_table(connection, table, symbols)
            except DatabaseError:
                return False
            return True

    with transaction() as connection:
        lock_table(connection, schema.table("stock_prices_daily"))
        lock_table(connection, table, ["MSFT", "AAPL"])
        assert is_free(["GE", "IBM"])
        assert not is_free(["GE", "AAPL"])
        assert not is_free(None)
    assert is_free(["GE", "AAPL"])
    with transaction() as connection:
        lock_table(connection, table)
        assert not is_free(["GE"])


def test_a_writer_killed_before_its_commit_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    command = [sys.executable, "-c", WRITE_AND_WAIT]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
    with transaction() as connection:
        assert store(connection, 2).inserted == ROWS
