"""Archived months of a renamed instrument: files keep the old symbol, readers and a restored month have the new one."""

from datetime import date
from pathlib import Path

import pytest

from financehub_dagster import read
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.operations.archive import archive_old
from financehub_dagster.serving.questions import RenamedSymbol
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.archive import moving
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.identity.renaming import rename
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.unit.archive.months import JULY, NOW, TABLE


def rename_ether(until: date) -> None:
    archive_old(get_settings(), lambda _: None, NOW)
    with transaction() as connection:
        assert rename(connection, "ETH", "ETX", until).changed


def test_archived_and_stored_minutes_are_read_together_under_the_new_symbol(home: Path) -> None:
    before = read(TABLE, symbols="ETH")
    rename_ether(date(2026, 11, 20))
    assert read(TABLE, symbols="ETX").assign(symbol="ETH").equals(before)
    with pytest.warns(RenamedSymbol, match="ETH is ETX since 2026-11-20"):
        assert len(read(TABLE, symbols="ETH")) == len(before)
    assert set(read(TABLE, columns="close")["symbol"]) == {"BTC", "B-TC", "ETX"}
    assert len(read(TABLE, symbols="ETX", columns="close", end="2026-07-31")) == len(before) // 3


def test_of_a_symbol_that_another_has_now_the_old_minutes_are_those_of_the_first(home: Path) -> None:
    rename_ether(date(2026, 8, 1))
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("ETH", "Another", AssetType.CRYPTO, "XXXX")])
    assert len(read(TABLE, symbols="ETX", end="2026-07-31"))
    assert not len(read(TABLE, symbols="ETH"))


def test_a_restored_month_has_the_new_symbol(home: Path) -> None:
    before = read(TABLE, symbols="ETH")
    rename_ether(date(2026, 11, 20))
    moving.restore_month(TABLE, JULY)
    with transaction() as connection:
        found = connection.exec_driver_sql("select distinct symbol from ohlc_1m_2026_07 order by 1").scalars()
        assert sorted(found) == ["B-TC", "BTC", "ETX"]
    assert read(TABLE, symbols="ETX").assign(symbol="ETH").equals(before)
