"""Months of minutes leave the database for files that hold the same rows, and come back as they were."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pyarrow import parquet

from financehub_dagster import read
from financehub_dagster.operations.archive import Left, archive_old
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.export import export
from financehub_dagster.serving.questions import ask
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.archive import files, moving
from financehub_dagster.storage.archive.errors import ArchiveError, BadArchive
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster_tests.unit.archive.months import (
    AUGUST,
    JULY,
    MINUTES,
    NOW,
    SYMBOLS,
    TABLE,
    all_rows,
    execute,
    partitions,
    store,
)

ROWS = len(SYMBOLS) * MINUTES
ALL = ["ohlc_1m_2026_07", "ohlc_1m_2026_08", "ohlc_1m_2026_11"]


def clean(told: list[str] | None = None, days: int = 0) -> list[Left]:
    """A clean-up some days after NOW."""
    return archive_old(get_settings(), (told if told is not None else []).append, NOW + timedelta(days=days))


def test_months_older_than_ninety_days_become_a_file_each_and_the_others_stay(home: Path) -> None:
    before = all_rows()
    told: list[str] = []
    left = clean(told)
    assert [(each.table, each.month, each.rows) for each in left] == [(TABLE, JULY, ROWS)]
    assert partitions() == ALL[1:]
    assert all_rows() == [row for row in before if "2026-07-01" not in row[0]]
    assert [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()] == [
        "archive/ohlc_1m/2026-07.parquet"
    ]
    assert told[0].startswith("ohlc_1m 2026-07: 150 rows archived in ")
    assert clean() == []
    assert [each.month for each in clean(days=1)] == [AUGUST]


def test_a_file_is_readable_by_its_path_alone_and_sorted_by_symbol_and_time(home: Path) -> None:
    stored = read(TABLE, end="2026-07-31")
    clean()
    path = home / "archive" / TABLE / "2026-07.parquet"
    frame = pd.read_parquet(path)
    pd.testing.assert_frame_equal(
        frame.sort_values(["symbol", "ts"], ignore_index=True),
        stored.sort_values(["symbol", "ts"], ignore_index=True),
    )
    assert frame["symbol"].unique().tolist() == sorted(SYMBOLS)
    assert pl.read_parquet(path).shape == (ROWS, len(stored.columns))
    assert {parquet.ParquetFile(path).metadata.row_group(0).column(n).compression for n in range(9)} == {"ZSTD"}


def test_reading_gives_archived_and_stored_rows_as_one(home: Path) -> None:
    questions: tuple[dict[str, Any], ...] = (
        {},
        {"symbols": "BTC"},
        {"symbols": ["ETH", "BTC"], "start": "2026-07-01T23:10Z", "end": "2026-11-01T23:05Z"},
        {"start": "2026-07-01", "end": "2026-07-01", "columns": "close"},
        {"symbols": "BTC,ETH", "layout": "wide"},
    )
    before = [read(TABLE, **question) for question in questions]
    clean(days=60)
    assert partitions() == ALL[2:]
    for question, expected in zip(questions, before, strict=True):
        found = read(TABLE, **question)
        keys = [name for name in ("symbol", "ts") if name in found.columns]
        pd.testing.assert_frame_equal(
            found.sort_values(keys, ignore_index=True) if keys else found,
            expected.sort_values(keys, ignore_index=True) if keys else expected,
        )
    assert len(read(TABLE, start="2026-11-01")) == ROWS


def test_exports_hold_archived_and_stored_rows(home: Path) -> None:
    def exported(name: str) -> pd.DataFrame:
        export(ask(TABLE, start="2026-07-01T23:10Z"), home / name, "parquet", lambda *_: None)
        return pd.read_parquet(home / name)

    before = exported("before")
    clean(days=60)
    pd.testing.assert_frame_equal(exported("after"), before)
    pd.testing.assert_frame_equal(exported("after.parquet"), before)
    assert len(before) == 3 * ROWS - len(SYMBOLS) * 10


def test_a_past_state_of_archived_months_is_refused_with_the_way_to_it(home: Path) -> None:
    clean()
    with pytest.raises(ReadError, match="`financehub archive restore ohlc_1m 2026-07`, or a later start"):
        read(TABLE, as_of="2026-11-20")
    assert len(read(TABLE, as_of=NOW + timedelta(days=9999), start="2026-08-01")) == 2 * ROWS
    moving.restore_month(TABLE, JULY)
    assert len(read(TABLE, as_of=NOW + timedelta(days=9999))) == 3 * ROWS


def test_a_restored_month_is_the_same_to_the_last_digit_and_stays_for_ninety_days(home: Path) -> None:
    before = all_rows()
    clean()
    restored = moving.restore_month(TABLE, JULY)
    assert restored.rows == ROWS
    assert all_rows() == before
    assert len(read(TABLE)) == 3 * ROWS
    with pytest.raises(ArchiveError, match="is in the database already"):
        moving.restore_month(TABLE, JULY)
    execute("comment on table ohlc_1m_2026_07 is 'restored from the archive at 2026-11-20T00:00:00+00:00'")
    assert JULY not in [each.month for each in clean(days=80)]
    assert JULY in [each.month for each in clean(days=81)]
    assert len(read(TABLE)) == 3 * ROWS


def test_what_is_changed_or_deleted_in_a_restored_month_is_so_in_its_next_file(home: Path) -> None:
    clean()
    moving.restore_month(TABLE, JULY)
    execute("delete from ohlc_1m where symbol = 'ETH' and ts < '2026-08-01'")
    execute("update ohlc_1m set close = 7 where symbol = 'BTC' and ts < '2026-08-01'")
    expected = all_rows()
    assert len(read(TABLE)) == len(expected)
    moving.archive_month(TABLE, JULY)
    assert files.describe(TABLE, JULY).rows == ROWS - MINUTES
    moving.restore_month(TABLE, JULY)
    assert all_rows() == expected


def replaced_closes() -> list[float]:
    """Of replaced minutes, in the order in which they were kept."""
    with transaction() as connection:
        query = "select (old ->> 'close')::float8 from price_revisions where table_name = 'ohlc_1m' order by id"
        return list(connection.exec_driver_sql(query).scalars())


def test_rows_that_arrive_after_their_month_was_archived_join_it(home: Path) -> None:
    clean()
    late = np.datetime64("2026-07-01T23:40", "s")
    with transaction() as connection:
        store(connection, TABLE, late, symbols=("BTC", "NEW"), minutes=20, price=55.0)
    assert "ohlc_1m_2026_07" in partitions()
    seen = read(TABLE, end="2026-07-31")
    assert len(seen) == ROWS + 10 + 20
    assert seen[(seen.symbol == "BTC") & (seen.ts == "2026-07-01T23:40Z")].close.item() == 55.0
    clean()
    assert "ohlc_1m_2026_07" not in partitions()
    pd.testing.assert_frame_equal(read(TABLE, end="2026-07-31"), seen)
    assert len(replaced_closes()) == 10
    assert replaced_closes()[0] == pytest.approx(100.47)
    with transaction() as connection:
        store(connection, TABLE, late, symbols=("BTC",), minutes=20, price=66.0)
    moving.restore_month(TABLE, JULY)
    again = read(TABLE, end="2026-07-31")
    assert len(again) == len(seen)
    assert again[(again.symbol == "BTC") & (again.ts == "2026-07-01T23:40Z")].close.item() == 66.0
    assert len(replaced_closes()) == 10 + 20


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "insert into minute_gaps values ('BTC', '2026-07-31 23:00Z', '2026-08-01 00:30Z', 1, 'binance', now())",
            "1 gaps of minutes (BTC)",
        ),
        (
            "insert into minute_coverage values ('BTC', '2026-07-01Z', '2026-07-15Z', now())",
            "1 instruments whose minutes end in it (BTC)",
        ),
        (
            (
                "insert into task_failures (task_name, partition_key, symbol, exception, status)"
                " values ('ohlc_1m', '2026-06-20...2026-07-01', '', 'no', 'parked')"
            ),
            "1 dead letters (whole runs)",
        ),
        (
            (
                "insert into deferred_work (task_name, partition_key, symbol, provider, until, reason)"
                " values ('ohlc_1m', '2026-07-31', 'ETH', 'binance', now(), 'no')"
            ),
            "1 deferred work (ETH)",
        ),
    ],
)
@pytest.mark.parametrize("archive", ["on", "off"])
def test_a_month_stays_that_something_open_refers_to(
    home: Path, monkeypatch: pytest.MonkeyPatch, statement: str, reason: str, archive: str
) -> None:
    monkeypatch.setenv("FINANCEHUB_ARCHIVE", archive)
    get_settings.cache_clear()
    execute(statement)
    told: list[str] = []
    assert clean(told) == []
    assert told == [f"ohlc_1m 2026-07 stays in the database: {reason}"]
    assert partitions() == ALL


def test_what_is_settled_or_about_other_months_keeps_nothing(home: Path) -> None:
    execute("insert into minute_gaps values ('BTC', '2026-07-01Z', '2026-07-02Z', 3, 'binance', null)")
    execute("insert into minute_gaps values ('BTC', '2026-08-01Z', '2026-08-02Z', 1, 'binance', now())")
    execute("insert into minute_coverage values ('GONE', '2026-07-01Z', '2026-07-15Z', now())")
    execute(
        "insert into task_failures (task_name, partition_key, symbol, exception, status) values"
        " ('ohlc_1m', '2026-07-01', 'BTC', 'no', 'resolved'), ('ohlc_1m', '2026-08-01', 'BTC', 'no', 'open'),"
        " ('quotes', '2026-07-01', 'BTC', 'no', 'open')"
    )
    assert [each.month for each in clean()] == [JULY]


def test_without_the_archive_months_are_dropped_and_no_longer_settled(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINANCEHUB_ARCHIVE", "off")
    get_settings.cache_clear()
    execute("insert into minute_coverage values ('BTC', '2026-07-01Z', '2026-11-02Z', now())")
    execute("insert into minute_gaps values ('BTC', '2026-07-02Z', '2026-07-03Z', 3, 'binance', null)")
    execute("insert into minute_gaps values ('BTC', '2026-07-30Z', '2026-08-02Z', 3, 'binance', null)")
    assert clean() == [Left(TABLE, JULY, ROWS, None)]
    assert not (home / "archive").exists()
    with transaction() as connection:
        first = connection.exec_driver_sql("select first::text from minute_coverage").scalar_one()
        gaps = connection.exec_driver_sql("select start::text, stop::text from minute_gaps").all()
    assert first == "2026-08-01 00:00:00+00"
    assert [tuple(gap) for gap in gaps] == [("2026-08-01 00:00:00+00", "2026-08-02 00:00:00+00")]


def test_archived_months_stay_settled(home: Path) -> None:
    execute("insert into minute_coverage values ('BTC', '2026-07-01Z', '2026-11-02Z', now())")
    clean()
    with transaction() as connection:
        assert connection.exec_driver_sql("select first from minute_coverage").scalar_one().month == 7


def test_a_damaged_file_is_refused_and_changes_nothing(home: Path) -> None:
    clean()
    path = home / "archive" / TABLE / "2026-07.parquet"
    whole = path.read_bytes()
    before = all_rows()
    path.write_bytes(whole[:-2000])
    with pytest.raises(BadArchive, match=r"2026-07.parquet: cannot be read"):
        moving.restore_month(TABLE, JULY)
    path.write_bytes(whole)
    rows = parquet.read_table(path)
    changed = rows.set_column(5, "close", pl.Series([1.0] * ROWS).to_arrow())
    note = parquet.ParquetFile(path).metadata.metadata[files.NOTE]
    parquet.write_table(changed.replace_schema_metadata({files.NOTE: note}), path)
    with pytest.raises(BadArchive, match="damaged, its rows do not match their checksum"):
        moving.restore_month(TABLE, JULY)
    assert all_rows() == before
    assert "ohlc_1m_2026_07" not in partitions()


def test_what_a_killed_run_left_is_written_again(home: Path) -> None:
    before = all_rows()
    folder = home / "archive" / TABLE
    folder.mkdir(parents=True)
    (folder / ".2026-07.parquet.new").write_bytes(b"half a file")
    clean()
    assert [path.name for path in folder.iterdir()] == ["2026-07.parquet"]
    moving.restore_month(TABLE, JULY)
    assert all_rows() == before
