"""Whatever happens while a month is archived, its rows are in the database, in the archive, or in both."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from financehub_dagster import read
from financehub_dagster.operations.archive import archive_old
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.archive import moving, partitions
from financehub_dagster.storage.archive.errors import ArchiveError
from financehub_dagster.storage.database.engine import market_engine
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.unit.archive.months import JULY, NOW, TABLE, all_rows

PROGRAM = """
from datetime import datetime
from financehub_dagster.operations.archive import archive_old
from financehub_dagster.settings import get_settings
archive_old(get_settings(), print, datetime.fromisoformat({now!r}))
"""


def clean(told: list[str] | None = None) -> int:
    return len(archive_old(get_settings(), (told if told is not None else []).append, NOW))


def test_a_process_killed_between_file_and_drop_leaves_each_row_once_for_readers(home: Path) -> None:
    before, seen = all_rows(), read(TABLE)
    file = home / "archive" / TABLE / "2026-07.parquet"
    with market_engine().begin() as reader:
        reader.exec_driver_sql("select 1 from ohlc_1m limit 1")
        with subprocess.Popen([sys.executable, "-c", PROGRAM.format(now=NOW.isoformat())]) as child:
            eventually(file.exists, 60)
            child.kill()
    assert child.returncode == -signal.SIGKILL
    assert all_rows() == before
    assert read(TABLE).equals(seen)
    eventually(lambda: clean() == 1, 60)  # once the server has noticed that the process is gone
    assert read(TABLE).equals(seen)
    moving.restore_month(TABLE, JULY)
    assert all_rows() == before


def test_a_full_disk_drops_nothing_and_says_what_to_do(home: Path) -> None:
    """A limit on the size of files stands for a full disk: the system refuses in the same way."""
    before, limit = all_rows(), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(ArchiveError) as failed:
            clean()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "2026-07.parquet cannot be written: " in str(failed.value)
    assert str(failed.value).endswith("nothing was dropped: make room or set FINANCEHUB_ARCHIVE=off")
    assert "\n" not in str(failed.value)
    assert all_rows() == before
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert clean() == 1


def test_a_month_that_is_written_or_read_for_long_waits_for_the_next_clean_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "LOCK_TRIES", 1)
    before = all_rows()
    told: list[str] = []
    for statement in ("update ohlc_1m_2026_07 set close = close", "select 1 from ohlc_1m limit 1"):
        with market_engine().begin() as other:
            other.exec_driver_sql(statement)
            assert clean(told) == 0
    assert told == 2 * ["ohlc_1m 2026-07 is in use: nothing was dropped, the next clean-up tries again"]
    assert all_rows() == before
    assert clean() == 1
