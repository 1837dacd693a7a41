"""By way of PgBouncer in transaction mode: nothing relies on a session, and nothing is left behind in one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.storage.backup.create import HomeFacts, create
from financehub_dagster.storage.database import migrations, session_settings
from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage
from financehub_dagster.storage.database.engine import Engine, make_engine, market_engine, transaction
from financehub_dagster.storage.database.errors import DatabaseError
from financehub_dagster.storage.queries import arrow
from financehub_dagster.storage.rate_limits import gateway_connection
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer, chosen
from financehub_dagster_tests.fixtures.pgbouncer import left_behind, pgbouncer

THREADS, ROUNDS, SESSIONS = 8, 25, 3
HELD = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "standard_conforming_strings": "on",
    "lock_timeout": f"{session_settings.LOCK_SECONDS // 60}min",
    "idle_in_transaction_session_timeout": f"{session_settings.IDLE_SECONDS // 60}min",
}
SHOWN = sa.text(f"select {', '.join(f"current_setting('{name}')" for name in HELD)}, pg_sleep(0.001)")


@pytest.fixture(scope="module")
def pooler(database_server: DatabaseServer) -> Iterator[URL]:
    with pgbouncer(database_server, SESSIONS) as address:
        yield address


@pytest.fixture
def behind(pooler: URL, database_server: DatabaseServer, market_template: str, dagster_template: str):
    """A market database and Dagster's beside it, which the environment leads to by way of PgBouncer."""
    url = database_server.create(market_template)
    database_server.create(dagster_template, f"{url.database}_dagster")
    with chosen(pooler.set(database=url.database)) as database:
        yield database
    for name in (url.database, f"{url.database}_dagster"):
        database_server.drop(url.set(database=name))


def dagster_storage(url: URL) -> FinanceHubDagsterStorage:
    address = url.set(drivername="postgresql", database=f"{url.database}_dagster").render_as_string()
    return FinanceHubDagsterStorage.from_config_value(None, {"postgres_url": address})


def test_every_transaction_has_our_settings_and_leaves_nothing(behind: Database) -> None:
    storage = dagster_storage(behind.engine.url)
    storage.run_storage.optimize_for_webserver(statement_timeout=5000, pool_recycle=3600, max_overflow=20)

    def work(_: int) -> None:
        for number in range(ROUNDS):
            with transaction() as connection:
                connection.exec_driver_sql("create temporary table mine (n int) on commit drop")
                assert connection.execute(SHOWN).one()[:-1] == tuple(HELD.values())
            statement = "select %(n)s::int + 1, current_setting('TimeZone'), current_setting('jit')"
            assert gateway_connection.execute(market_engine(), statement, {"n": number}) == [(number + 1, "UTC", "off")]
            assert storage.run_storage.get_runs_count() == 0
            with storage.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
                assert connection.exec_driver_sql("select now()::text").scalar().endswith("+00")
            with arrow.reading() as reader:
                assert reader.known_symbols() == []

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    for part in (storage.run_storage, storage.event_log_storage):
        part.dispose()
    for name in (behind.engine.url.database, f"{behind.engine.url.database}_dagster"):
        assert left_behind(behind.engine.url.set(database=name), SESSIONS) == set()


def test_a_role_with_settings_of_its_own_is_refused_with_the_remedy(pooler: URL, database_server, behind) -> None:
    name = str(behind.engine.url.database)
    database_server.execute(f"alter database {name}_dagster set extra_float_digits = -15")
    with pytest.raises(DatabaseError, match="by way of a pooler.*alter role postgres set extra_float_digits = '1'`"):
        dagster_storage(behind.engine.url)


def test_a_backup_asks_for_the_servers_own_address(behind: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="a backup needs sessions of its own: set FINANCEHUB_DATABASE_URL to"):
        create(behind.engine.url, tmp_path / "a.backup", HomeFacts("live", None), lambda *_: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_three_processes_migrate_at_once_and_leave_nothing(pooler: URL, empty_database: URL) -> None:
    url = pooler.set(database=empty_database.database)
    with ThreadPoolExecutor(3) as pool:
        steps = list(pool.map(lambda _: migrations.upgrade(url), range(3)))
    assert sorted(before or "" for before, _ in steps) == ["", migrations.head(), migrations.head()]
    assert left_behind(url, SESSIONS) == set()


def test_a_server_without_a_pooler_is_told_apart(database: Database, pooler: URL) -> None:
    def seen(engine: Engine) -> bool:
        with engine.connect() as connection:
            return session_settings.is_pooled(connection)

    assert not seen(database.engine)
    engine = make_engine(pooler.set(database=database.engine.url.database))
    assert seen(engine)
    engine.dispose()
