"""Indexes that a migration adds to partitions with rows: built beside readers and writers, continued after a kill."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
import sqlalchemy as sa

from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import make_engine
from financehub_dagster.storage.database.month_partitions import ensure_months
from financehub_dagster.storage.database.upgrade import partition_indexes
from financehub_dagster_tests.fixtures.eventually import eventually

MONTHS = [date(2026, 6, 1), date(2026, 7, 1)]
ROW = "insert into ohlc_1m values ('AAPL', '2026-06-{day:02d} 14:30Z', 1, 1, 1, 1, 1, 'yahoo', now())"
INDEXES = """
    select i.relname from pg_index as x join pg_class as i on i.oid = x.indexrelid
    where i.relname like 'ohlc_1m%_ts_idx' and x.indisvalid order by 1
    """
BUILT = ["ohlc_1m_2026_06_ts_idx", "ohlc_1m_2026_07_ts_idx"]


@pytest.fixture
def before(empty_database: sa.URL) -> sa.URL:
    """A database as the step before left it, with minutes in two months."""
    migrations.upgrade(empty_database, "0025")
    engine = make_engine(empty_database)
    with engine.begin() as connection:
        ensure_months(connection, "ohlc_1m", MONTHS)
        connection.exec_driver_sql(ROW.format(day=1))
    engine.dispose()
    return empty_database


def valid(url: sa.URL) -> list[str]:
    with autocommit(url) as connection:
        return list(connection.execute(sa.text(INDEXES)).scalars())


def test_every_partition_gets_its_index_and_later_ones_bring_theirs_along(before: sa.URL) -> None:
    migrations.upgrade(before)
    assert valid(before) == [*BUILT, "ohlc_1m_ts_idx"]
    engine = make_engine(before)
    with engine.begin() as connection:
        ensure_months(connection, "ohlc_1m", [date(2026, 8, 1)])
    engine.dispose()
    with autocommit(before) as connection:
        assert partition_indexes.complete(connection) == []
    assert "ohlc_1m_2026_08_ts_idx" in valid(before)


def test_a_build_that_was_interrupted_is_continued(before: sa.URL) -> None:
    migrations.upgrade(before)
    with autocommit(before) as connection:
        connection.exec_driver_sql("drop index ohlc_1m_ts_idx")
        connection.exec_driver_sql("create index ohlc_1m_ts_idx on only ohlc_1m (ts)")
        connection.exec_driver_sql("create index ohlc_1m_2026_06_ts_idx on ohlc_1m_2026_06 (ts)")
        connection.exec_driver_sql(
            "update pg_index set indisvalid = false where indexrelid = 'ohlc_1m_2026_06_ts_idx'::regclass"
        )
    migrations.upgrade(before)
    assert valid(before) == [*BUILT, "ohlc_1m_ts_idx"]


def test_minutes_are_written_while_a_build_waits_for_an_older_transaction(before: sa.URL) -> None:
    engine = make_engine(before)
    with engine.connect() as old, autocommit(before) as other, ThreadPoolExecutor(1) as pool:
        old.exec_driver_sql("set transaction isolation level repeatable read")
        old.exec_driver_sql("select count(*) from pg_class")
        upgraded = pool.submit(migrations.upgrade, before)
        going_on = "select count(*) from pg_stat_progress_create_index where starts_with(phase, 'waiting')"
        try:
            eventually(lambda: other.exec_driver_sql(going_on).scalar() == 1, 60, "no build is waiting")
            other.exec_driver_sql("set lock_timeout = '1s'")
            other.exec_driver_sql(ROW.format(day=2))
        finally:
            old.rollback()
        upgraded.result()
    engine.dispose()
    assert valid(before) == [*BUILT, "ohlc_1m_ts_idx"]
