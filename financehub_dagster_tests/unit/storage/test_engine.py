"""Addresses, drivers, and what a person reads when the database cannot be used."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from financehub_dagster.storage.database import embedded, urls
from financehub_dagster.storage.database.creation import ensure_database
from financehub_dagster.storage.database.engine import make_engine, market_engine, transaction
from financehub_dagster.storage.database.errors import DatabaseError, DatabaseUnreachable, NotMigrated, WrongPassword
from financehub_dagster.storage.database.refusals import statement_error
from financehub_dagster_tests.fixtures.database import Database, DatabaseServer, clear_caches
from financehub_dagster_tests.fixtures.eventually import eventually


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Set FINANCEHUB_DATABASE_URL through `setenv`; caches are cleared before and after."""
    monkeypatch.chdir(tmp_path)
    clear_caches()
    yield monkeypatch
    clear_caches()


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://u:p%40ss@db:5433/market?sslmode=require",
        "postgres://u:p%40ss@db:5433/market?sslmode=require",
        "postgresql+psycopg2://u:p%40ss@db:5433/market?sslmode=require",
        "postgresql+psycopg://u:p%40ss@db:5433/market?sslmode=require",
    ],
)
def test_however_the_address_is_written_each_side_gets_its_driver(configure: pytest.MonkeyPatch, written: str) -> None:
    configure.setenv("FINANCEHUB_DATABASE_URL", written)
    market = urls.market_url().render_as_string(hide_password=False)
    assert market == "postgresql+psycopg://u:p%40ss@db:5433/market?sslmode=require"
    assert urls.dagster_url() == "postgresql+psycopg2://u:p%40ss@db:5433/market_dagster?sslmode=require"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("mysql://user:hunter2@db/market", "not a PostgreSQL address"),
        ("postgresql://user:hunter2@db", "names no database"),
        ("user hunter2 at db", "cannot be read"),
        ("postgresql://user:hunter2@db:port/market", "cannot be read"),
    ],
)
def test_an_unusable_address_is_refused_by_name_and_never_shown(
    configure: pytest.MonkeyPatch, written: str, reason: str
) -> None:
    configure.setenv("FINANCEHUB_DATABASE_URL", written)
    with pytest.raises(DatabaseError, match=f"FINANCEHUB_DATABASE_URL.*{reason}") as caught:
        urls.market_url()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_server_that_is_down_is_one_line_with_the_place_and_the_remedy(configure: pytest.MonkeyPatch) -> None:
    port = closed_port()
    configure.setenv("FINANCEHUB_DATABASE_URL", f"postgresql://user:hunter2@127.0.0.1:{port}/market")
    with pytest.raises(DatabaseUnreachable, match=f"127.0.0.1:{port}.*start the server") as caught, transaction():
        pytest.fail("connected to a closed port")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_is_told_from_a_server_that_is_down(database_server: DatabaseServer) -> None:
    hba = database_server.home / "postgres" / "pg_hba.conf"
    database_server.execute("create role secretive login password 'right'")
    before = hba.read_text()
    hba.write_text(f"local all secretive scram-sha-256\n{before}")
    database_server.execute("select pg_reload_conf()")
    url = database_server.address.set(username="secretive", password="hunter2")
    engine = make_engine(url)
    with pytest.raises(WrongPassword, match="correct FINANCEHUB_DATABASE_URL") as caught:
        engine.connect()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    hba.write_text(before)
    database_server.execute("select pg_reload_conf()")
    database_server.execute("drop role secretive")


def test_an_unknown_user_is_refused_like_a_wrong_password(database_server: DatabaseServer) -> None:
    with pytest.raises(WrongPassword, match="'nobody_we_know'"):
        make_engine(database_server.address.set(username="nobody_we_know")).connect()


def test_a_missing_database_is_to_be_migrated(database_server: DatabaseServer) -> None:
    with pytest.raises(NotMigrated, match="'absent'.*financehub db upgrade"):
        make_engine(database_server.url("absent")).connect()


def test_a_lost_connection_is_one_line_and_the_next_transaction_connects_again(database: Database) -> None:
    kill = sa.text(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid != :me"
    )

    def lose_the_connection() -> None:
        with transaction() as connection, database.engine.connect() as other:
            other.execute(kill, {"me": other.execute(sa.text("select pg_backend_pid()")).scalar()})
            connection.execute(sa.text("select 1"))

    with pytest.raises(DatabaseUnreachable) as caught:
        lose_the_connection()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    with transaction() as connection:
        assert connection.execute(sa.text("select 1")).scalar() == 1


def test_a_statement_that_ctrl_c_breaks_off_is_an_interruption_and_no_lost_server(database: Database) -> None:
    asleep = sa.text("select 1 from pg_stat_activity where query like 'select pg_sleep%'")

    def interrupt() -> None:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as observer:
            eventually(lambda: observer.execute(asleep).first() is not None)
        os.kill(os.getpid(), signal.SIGINT)

    def sleep() -> None:
        with transaction() as connection:
            observer.start()
            connection.execute(sa.text("select pg_sleep(60)"))

    observer = Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):
        sleep()
    observer.join()
    with transaction() as connection:
        assert connection.execute(sa.text("select 1")).scalar() == 1


@pytest.mark.parametrize(
    "error",
    [
        *(psycopg.errors.lookup(state)("ended") for state in ("57P01", "57P02", "57P03", "57P05", "25P03")),
        psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly"),
        psycopg.OperationalError("flushing failed: could not send data to server: Broken pipe"),
    ],
    ids=str,
)
def test_a_session_that_has_ended_is_lost_even_if_the_driver_has_not_noticed(error: psycopg.Error) -> None:
    told = statement_error(URL.create("postgresql+psycopg", host="db", database="market"), error, lost=False)
    assert isinstance(told, DatabaseUnreachable)
    assert "start the server" in str(told)


def test_a_writer_that_waits_too_long_for_another_one_is_told_so(database: Database) -> None:
    def wait_in_vain() -> None:
        with database.engine.begin() as holder, transaction() as waiting:
            holder.execute(sa.text("select pg_advisory_xact_lock(1)"))
            waiting.execute(sa.text("set local lock_timeout = '10ms'"))
            waiting.execute(sa.text("select pg_advisory_xact_lock(1)"))

    with pytest.raises(DatabaseError, match="nothing was written: another transaction") as caught:
        wait_in_vain()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_sessions_live_in_utc(database: Database) -> None:
    with transaction() as connection:
        assert connection.execute(sa.text("show time zone")).scalar() == "UTC"
        assert connection.execute(sa.text("select now()")).scalar_one().utcoffset() == timedelta(0)


def test_an_error_inside_a_transaction_leaves_nothing_behind(database: Database) -> None:
    def fail_half_way() -> None:
        with transaction() as connection:
            connection.execute(sa.text("create table half_done (a int)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert not sa.inspect(database.engine).has_table("half_done")


def test_the_engine_of_the_embedded_server_follows_it_through_a_restart(
    configure: pytest.MonkeyPatch, database_server: DatabaseServer
) -> None:

    with tempfile.TemporaryDirectory(prefix="fh-") as folder:
        configure.delenv("FINANCEHUB_DATABASE_URL", raising=False)
        configure.setenv("FINANCEHUB_HOME", folder)
        clear_caches()
        ensure_database(urls.market_url())
        assert market_engine().url.database == "financehub"
        with transaction() as connection:
            connection.execute(sa.text("create table kept as select 42 as answer"))
        assert embedded.stop(Path(folder))
        with transaction() as connection:
            assert connection.execute(sa.text("select answer from kept")).scalar() == 42
        clear_caches()
        embedded.release(Path(folder))
        assert not embedded.status(Path(folder)).running


def test_the_password_never_shows_in_the_engine(configure: pytest.MonkeyPatch) -> None:
    url = URL.create("postgresql+psycopg", username="u", password="hunter2", host="db", database="market")
    assert "hunter2" not in repr(make_engine(url))
