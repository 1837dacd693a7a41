"""A newer version has migrated the database: commands of an older one refuse it, and what still runs says so."""

import importlib
import logging
from pathlib import Path

import pytest
import sqlalchemy as sa

from financehub_dagster.cli.app import run
from financehub_dagster.cli.supervisor.state import State, myself
from financehub_dagster.operations import driving, health
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.database.upgrade import revisions
from financehub_dagster_tests.fixtures.database import Database

NEWER = "9999"
SAYS = "at revision 9999, which this program does not know: it was migrated by a newer version: upgrade the program"


def migrate_to(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"update alembic_version set version_num = '{revision}'")


@pytest.fixture
def newer(database: Database, folder: Path) -> Database:
    """A database that a later version has migrated, and a home that was used before."""
    home = get_settings().home
    home.mkdir(parents=True)
    (home / "mode").write_text("live\n")
    migrate_to(database, NEWER)
    return database


COMMANDS = (
    ["up"],
    ["db", "upgrade"],
    ["backfill", "stock_prices_daily", "--from", "2024-03", "--to", "2024-03"],
    ["gaps"],
    ["explain", "AAPL", "2024-03-05"],
    ["export", "stock_prices_daily", "--output", "out.csv"],
    ["dlq", "list"],
    ["holdings", "list"],
    ["instruments", "list"],
    ["serve", "--port", "0"],
    ["usage"],
    ["status"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_older_program_refuses_a_newer_database_with_the_remedy(command: list[str], newer: Database, capsys) -> None:
    assert run(command) == 1
    told = capsys.readouterr()
    assert SAYS in told.err, told
    with newer.engine.connect() as connection:
        assert connection.exec_driver_sql("select version_num from alembic_version").scalar() == NEWER


def test_a_running_process_says_in_health_and_in_its_log_that_the_database_is_newer(
    dagster_tables, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    dagster_tables.beat()
    found = {each.component: each for each in health.check().components}
    assert (found["schema"].status, found["schema"].detail) == ("ok", f"at revision {revisions.HEAD}")
    migrate_to(database, NEWER)
    with caplog.at_level(logging.ERROR, "financehub.health"):
        checked = health.check()
    found = {each.component: each for each in checked.components}
    assert (checked.status, found["schema"].status) == ("failed", "failed")
    assert f"{SAYS}, and start it again" in found["schema"].detail
    assert SAYS in caplog.text
    migrate_to(database, "0001")
    [behind] = [each for each in health.check().components if each.component == "schema"]
    assert "at revision 0001, this program needs" in behind.detail


def test_a_worker_takes_no_runs_from_a_newer_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCEHUB_BROKER_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()
    worker = importlib.import_module(
        "financehub_dagster.automation.celery_workers.app"
    )  # it needs its broker's address
    assert worker.problem() is None
    migrate_to(database, NEWER)
    assert SAYS in str(worker.problem())
    get_settings.cache_clear()


def test_status_says_that_the_platform_was_started_for_an_earlier_revision(
    database: Database, dagster_tables, folder: Path, capsys
) -> None:
    assert run(["db", "upgrade"]) == 0
    home = get_settings().home
    State(myself(), {}, "0001").write(home / "supervisor.json")
    capsys.readouterr()
    assert run(["status"]) == 0
    assert f"started for revision 0001, and the database is at {revisions.HEAD} by now" in capsys.readouterr().out


def test_status_names_the_platform_that_drives_the_database_from_elsewhere(
    database: Database, dagster_tables, folder: Path, capsys
) -> None:
    assert run(["db", "upgrade"]) == 0
    assert driving.claim("other") is None
    with database.engine.begin() as connection:
        connection.execute(sa.text("update daemons set host = 'elsewhere', home = '/srv/financehub'"))
    capsys.readouterr()
    assert run(["status"]) == 0
    told = capsys.readouterr().out
    assert "stopped here; elsewhere (/srv/financehub, process " in told
    assert "`financehub up` starts it" not in told
