"""Backups: what is restored equals what was backed up, and what cannot be restored changes nothing."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.operations import driving
from financehub_dagster.storage.backup import contents
from financehub_dagster.storage.backup import create as creating
from financehub_dagster.storage.backup.file import BackupError, verify
from financehub_dagster.storage.backup.restore import restore
from financehub_dagster.storage.database import migrations
from financehub_dagster.storage.database.creation import autocommit
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.urls import MARKET_DRIVER, beside
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer, fresh, new_server
from financehub_dagster_tests.fixtures.eventually import eventually
from financehub_dagster_tests.unit.serving import stored

FACTS = creating.HomeFacts("live", "2026-11-02")
CONTENT = "select md5(coalesce(string_agg(t::text, chr(10) order by t::text), '')) from {} t"
"""A hash of all rows of a table."""
LEDGER = """
    insert into coverage (table_name, symbol, first, through, calendar_digest, gap)
    select 'stock_prices_daily', symbol, '2024-01-01', '2024-02-09', 0, '{[2024-01-03,2024-01-05)}' from instruments
"""
REJECTED = """
    insert into rejected_rows (table_name, symbol, date, rule, row, source)
    values ('stock_prices_daily', 'AAPL', '2024-01-01', clock_timestamp()::text, '{}', 'yahoo')
"""


def quiet(part: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def dagsters(market: URL) -> URL:
    return beside(market).set(drivername=MARKET_DRIVER)


def content(url: URL) -> dict[str, str]:
    with autocommit(url) as connection:
        names = contents.tables(connection)
        return {name: str(connection.exec_driver_sql(CONTENT.format(name)).scalar()) for name in names}


def whole(market: URL) -> dict[str, dict[str, str]]:
    return {"market": content(market), "dagster": content(dagsters(market))}


@pytest.fixture(scope="module")
def source(database_server: DatabaseServer, market_template: str, dagster_template: str) -> Iterator[Database]:
    """A market with bars, actions, indicators, revisions and a ledger, and Dagster's storage with two events."""
    with fresh(database_server, market_template) as database:
        stored.fill()
        with transaction() as connection:
            connection.execute(sa.text(LEDGER))
        database_server.create(dagster_template, beside(database.engine.url).database)
        with dg.DagsterInstance.from_ref(reference(database.url)) as instance:
            for key in ("stock_prices_daily", "indicators_daily"):
                instance.report_runless_asset_event(dg.AssetMaterialization(key, partition="2024-01-01"))
        yield database


def reference(url: str) -> dg._core.instance.ref.InstanceRef:
    storage = {"module": "financehub_dagster.storage.database.dagster_storage", "class": "FinanceHubDagsterStorage"}
    overrides = {"storage": {"custom": {**storage, "config": {}}}}
    return dg._core.instance.ref.InstanceRef.from_dir(str(Path.cwd()), overrides=overrides)


@pytest.fixture(scope="module")
def backup(source: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backups") / "one.backup"
    creating.create(source.engine.url, path, FACTS, quiet)
    return path


@pytest.fixture
def target(database_server: DatabaseServer) -> Iterator[URL]:
    """The address of databases that do not exist yet."""
    url = database_server.url(f"restored_{os.getpid()}")
    yield url
    for each in (url, beside(url)):
        database_server.drop(each)


def test_a_backup_restored_into_another_server_has_the_same_rows_and_ledger(source: Database, backup: Path) -> None:
    with new_server("fsync") as other:
        market = other.url("elsewhere")
        done = restore(market, backup, "live", replace=False, report=quiet)
        assert whole(market) == whole(source.engine.url)
        assert migrations.current(market) == done.revision == migrations.head()
        with autocommit(market) as connection:
            assert connection.exec_driver_sql("select count(*) from stock_prices_daily_as_of(now())").scalar() == 120
    rows = done.description.rows
    assert (rows["market"]["stock_prices_daily"], rows["market"]["coverage"], rows["market"]["price_revisions"]) == (
        120,
        4,
        80,
    )
    assert rows["dagster"]["event_logs"] == 2


def test_a_restored_platform_may_start_while_the_one_of_the_backup_runs(
    source: Database, target: URL, tmp_path: Path
) -> None:
    assert driving.claim("the source's") is None
    try:
        creating.create(source.engine.url, tmp_path / "claimed.backup", FACTS, quiet)
    finally:
        driving.release("the source's")
    restore(target, tmp_path / "claimed.backup", "live", replace=False, report=quiet)
    with autocommit(target) as connection:
        assert connection.exec_driver_sql("select count(*) from daemons").scalar() == 0


def test_a_backup_says_what_it_is_of(backup: Path) -> None:
    found = verify(backup)
    assert (found.revision, found.mode, found.first_day, found.server) == (migrations.head(), "live", "2026-11-02", 18)
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_database_with_tables_is_overwritten_only_with_replace(
    source: Database, backup: Path, target: URL, database_server: DatabaseServer, market_template: str
) -> None:
    database_server.create(market_template, target.database)
    database_server.create(None, beside(target).database)
    with autocommit(target) as connection:
        connection.exec_driver_sql(REJECTED)
    before = content(target)
    with pytest.raises(BackupError, match="holds .* tables: --replace drops what is there"):
        restore(target, backup, "live", replace=False, report=quiet)
    assert content(target) == before
    restore(target, backup, "live", replace=True, report=quiet)
    restore(target, backup, "live", replace=True, report=quiet)
    assert whole(target) == whole(source.engine.url)


def test_tables_of_another_program_are_never_dropped(
    backup: Path, target: URL, database_server: DatabaseServer
) -> None:
    database_server.create(None, target.database)
    with autocommit(target) as connection:
        connection.exec_driver_sql("create table theirs as select 1 as a")
    with pytest.raises(BackupError, match=r"tables of another program \(theirs\)"):
        restore(target, backup, "live", replace=True, report=quiet)
    assert list(content(target)) == ["theirs"]


def test_a_database_in_use_is_not_replaced(backup: Path, target: URL) -> None:
    restore(target, backup, "live", replace=False, report=quiet)
    with autocommit(target), pytest.raises(BackupError, match="in use by financehub: end that first"):
        restore(target, backup, "live", replace=True, report=quiet)


def test_a_damaged_backup_changes_neither_database(backup: Path, target: URL, tmp_path: Path) -> None:
    restore(target, backup, "live", replace=False, report=quiet)
    with autocommit(target) as connection:
        connection.exec_driver_sql("delete from stock_prices_daily where symbol = 'AAPL'")
    before = whole(target)
    data = bytearray(backup.read_bytes())
    data[-5000] ^= 0xFF  # in the second dump, Dagster's: the market's has been loaded by then
    damaged = tmp_path / "damaged.backup"
    damaged.write_bytes(data)
    with pytest.raises(BackupError, match="damaged"):
        restore(target, damaged, "live", replace=True, report=quiet)
    with pytest.raises(BackupError, match="damaged"):
        verify(damaged)
    assert whole(target) == before


@pytest.mark.parametrize("size", [0, 10_000])
def test_half_a_backup_is_no_backup(backup: Path, target: URL, tmp_path: Path, size: int) -> None:
    half = tmp_path / "half.backup"
    half.write_bytes(backup.read_bytes()[:size])
    with pytest.raises(BackupError, match="is no complete backup"):
        restore(target, half, "live", replace=False, report=quiet)


def test_sample_and_live_data_never_mix(backup: Path, target: URL) -> None:
    with pytest.raises(BackupError, match="holds live data and this home is for sandbox data"):
        restore(target, backup, "sandbox", replace=False, report=quiet)


@pytest.fixture
def empty_market(database_server: DatabaseServer, empty_database: URL, dagster_template: str) -> Iterator[URL]:
    """An empty market database, and Dagster's beside it with tables."""
    database_server.create(dagster_template, beside(empty_database).database)
    yield empty_database
    database_server.drop(beside(empty_database))


def test_a_backup_of_an_earlier_version_is_migrated(empty_market: URL, target: URL, tmp_path: Path) -> None:
    migrations.upgrade(empty_market, "0011")
    path = tmp_path / "old.backup"
    assert creating.create(empty_market, path, FACTS, quiet).revision == "0011"
    assert restore(target, path, "live", replace=False, report=quiet).revision == migrations.head()


def test_a_backup_of_a_later_version_is_refused(empty_market: URL, target: URL, tmp_path: Path) -> None:
    migrations.upgrade(empty_market)
    with autocommit(empty_market) as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    path = tmp_path / "late.backup"
    creating.create(empty_market, path, FACTS, quiet)
    with pytest.raises(BackupError, match="at revision 9999, which this program does not know: upgrade the program"):
        restore(target, path, "live", replace=False, report=quiet)


def test_a_backup_made_while_rows_are_written_is_of_one_moment(source: Database, target: URL, tmp_path: Path) -> None:
    """Otherwise its rows would differ from the counts of its description, which a restore compares."""
    stop = threading.Event()

    def write() -> None:
        with autocommit(source.engine.url) as connection:
            while not stop.is_set():
                connection.exec_driver_sql(REJECTED)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: rejected(source.engine.url) > 0)
        made = creating.create(source.engine.url, tmp_path / "busy.backup", FACTS, quiet)
    finally:
        stop.set()
        writer.join()
    assert 0 < made.rows["market"]["rejected_rows"] < int(rejected(source.engine.url))
    assert restore(target, tmp_path / "busy.backup", "live", replace=False, report=quiet).description == made


def rejected(url: URL) -> int:
    with autocommit(url) as connection:
        return int(connection.exec_driver_sql("select count(*) from rejected_rows").scalar_one())


KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy.engine import make_url
from financehub_dagster.storage.backup.create import HomeFacts, create
create(make_url(sys.argv[1]), Path(sys.argv[2]), HomeFacts("live", None),
       lambda part, done, total: os.kill(os.getpid(), signal.SIGKILL) if part == "dagster" else None)
"""


def test_a_killed_backup_leaves_no_file_and_is_in_nobodys_way(source: Database, tmp_path: Path) -> None:
    path = tmp_path / "killed.backup"
    url = source.engine.url.render_as_string(hide_password=False)
    ended = subprocess.run([sys.executable, "-c", KILLED, url, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not path.exists()
    creating.create(source.engine.url, path, FACTS, quiet)
    assert verify(path).program
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_kept(source: Database, tmp_path: Path) -> None:
    path = tmp_path / "there.backup"
    path.write_text("mine")
    with pytest.raises(BackupError, match="exists: name another --output"):
        creating.create(source.engine.url, path, FACTS, quiet)
    assert path.read_text() == "mine"
